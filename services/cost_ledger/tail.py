"""Reads what is written to the changelogs and the spend topic of the partitions that this worker has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, cast

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic_core import from_json

from millrace.clock import millis
from millrace.contracts.events import CostSpend, Window
from millrace.contracts.wire import Codec
from millrace.ledger.topics import SPEND
from services.cost_ledger.late import LateRows, Place
from services.cost_ledger.spend import WindowName

_BACK: Final = 1000
"""Rows before the end with which reading begins: a late one may have come between recovery and that."""
_AT_ONCE: Final = 5000


class Tail:
    """Follows the ends of the topics; see `open_tail`."""

    def __init__(self, consumer: AIOKafkaConsumer, tables: Mapping[str, Window], spend: str, codec: Codec) -> None:
        self._consumer = consumer
        self._tables = tables
        self._spend = spend
        self._codec = codec

    async def read(self, partitions: Iterable[int], late: LateRows, now: datetime) -> None:
        """Note what has been written since the last time; partitions that are new are read from near their end."""
        wanted = {TopicPartition(topic, p) for topic in (*self._tables, self._spend) for p in partitions}
        if wanted != self._consumer.assignment():
            late.forget()
            self._consumer.assign(list(wanted))
            if wanted:
                for tp, end in (await self._consumer.end_offsets(list(wanted))).items():
                    self._consumer.seek(tp, max(0, end - _BACK))
        if not wanted:
            return
        for records in (await self._consumer.getmany(timeout_ms=0, max_records=_AT_ONCE)).values():
            for record in records:
                row = await self._row(record)
                if row is not None:
                    late.note(*row, now)

    async def _row(self, record: ConsumerRecord) -> tuple[Place, int] | None:
        """The place and the last decision of a record's row; None for what is no row that has seen one."""
        if record.value is None:
            return None
        if record.topic == self._spend:
            row = cast(CostSpend, await self._codec.decode(SPEND, record.value))
            key = WindowName(row.account, row.scope, millis(row.start)).key
            return Place(record.topic, record.partition, row.window, key), row.as_of_offset
        fields = from_json(record.value)
        if fields is None or fields.get("as_of") is None:
            return None
        place = Place(record.topic, record.partition, self._tables[record.topic], from_json(record.key))
        return place, fields["as_of"]


@asynccontextmanager
async def open_tail(kafka: str, tables: Mapping[str, Window], spend: str, codec: Codec) -> AsyncIterator[Tail]:
    """A reader in no group. `tables` are the changelogs' names."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        yield Tail(consumer, tables, spend, codec)
    finally:
        await consumer.stop()
