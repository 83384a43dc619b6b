"""Reads what is written to the changelogs and the spend topic of the partitions that this worker has."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, cast

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic_core import from_json

from millrace.clock import millis
from millrace.cluster import Cluster
from millrace.contracts.events import CostSpend, Window
from millrace.contracts.wire import Codec
from millrace.errors import Poison
from millrace.ledger.topics import SPEND
from services.cost_ledger.decode import decode_patiently
from services.cost_ledger.late import LateRows, Place
from services.cost_ledger.spend import WindowName

log = logging.getLogger(__name__)

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
        """Note what has been written since the last time; partitions that are new are read from near their end.

        What is none of the ledger's rows is left out: whoever wrote it, the tables do not come to depend on it here.
        """
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
                try:
                    row = await self._row(record)
                except (Poison, ValueError, TypeError) as exc:
                    at = f"{record.topic}-{record.partition}@{record.offset}"
                    log.warning("%s is no row of the ledger and is left out (%s)", at, type(exc).__name__)
                    continue
                if row is not None:
                    late.note(*row, now)

    async def _row(self, record: ConsumerRecord) -> tuple[Place, int] | None:
        """The place and the last decision of a record's row; None for one that has seen none.

        :raises Poison: it is no row.
        :raises ValueError: likewise.
        :raises TypeError: likewise.
        """
        if record.value is None:
            return None
        if record.topic == self._spend:
            row = cast(CostSpend, await decode_patiently(self._codec, SPEND, record.value))
            key = WindowName(row.account, row.scope, millis(row.start)).key
            return Place(record.topic, record.partition, row.window, key), row.as_of_offset
        fields, key = from_json(record.value), from_json(record.key or b"")
        if fields is None:
            return None
        if not isinstance(fields, dict) or not isinstance(key, str):
            raise TypeError("neither the key nor the value of a row")
        as_of = fields.get("as_of")
        if as_of is None:
            return None
        return Place(record.topic, record.partition, self._tables[record.topic], key), int(as_of)


@asynccontextmanager
async def open_tail(kafka: Cluster, tables: Mapping[str, Window], spend: str, codec: Codec) -> AsyncIterator[Tail]:
    """A reader in no group. `tables` are the changelogs' names."""
    consumer = AIOKafkaConsumer(
        **kafka.aiokafka(),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    try:
        await consumer.start()
        yield Tail(consumer, tables, spend, codec)
    finally:
        await consumer.stop()
