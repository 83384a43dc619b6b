"""Reads the ledger's topics from outside: committed records only, each partition up to its present end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import chain
from typing import Final, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from pydantic_core import from_json

from millrace.clock import millis
from millrace.contracts.events import CostDecision, CostSpend, Window
from millrace.contracts.wire import Codec
from millrace.errors import ConfigurationError, Unavailable
from millrace.ledger.topics import DECISIONS, SPEND
from millrace.telemetry.logs import LIBRDKAFKA
from services.cost_ledger.audit import TABLES, Places
from services.cost_ledger.intake import Intake
from services.cost_ledger.log import Broken
from services.cost_ledger.rows import WindowKey
from services.cost_ledger.settings import LedgerSettings
from services.cost_ledger.spend import Decided, JsonRow
from services.cost_ledger.state import Logged
from services.cost_ledger.topics import changelog

_CHUNK: Final = 5000
_ANSWER_S: Final = 15.0
OPENING: Final = "day:"
"""Begins the request id of the first record of a day's opening."""


class LedgerReader:
    """Blocking. Errors of the broker are `Unavailable`."""

    def __init__(self, settings: LedgerSettings, codec: Codec) -> None:
        self._kafka = settings.cluster
        self._topics = settings.topics
        self._tables: dict[Window, str] = {w: changelog(settings.ledger_app_id, name) for w, name in TABLES.items()}
        self._codec = codec
        self._intake = Intake(codec, threading.Event())

    def places(self, partition: int) -> Places:
        """What the rows topic, the tables and the spend topic hold of a partition."""
        spend = (self._spend(value) for value in self.latest(self._topics.spend, partition).values())
        return Places(
            rows=self.latest(self._topics.rows, partition),
            tables={window: self.table(window, partition) for window in self._tables},
            spend={WindowKey(row.account, row.scope, row.window, millis(row.start)): row for row in spend},
        )

    def table(self, window: Window, partition: int) -> dict[str, JsonRow]:
        """A Faust table's rows, from its changelog.

        :raises Broken: it holds something else.
        """
        topic = self._tables[window]
        rows = self.latest(topic, partition)
        try:
            return {cast(str, from_json(key)): cast(JsonRow, from_json(value)) for key, value in rows.items()}
        except ValueError as exc:
            raise Broken(
                f"{topic}-{partition} holds a row that is not JSON: write an empty value under its key, then run "
                "`millrace budget rebuild`"
            ) from exc

    def decisions(self, partition: int) -> Iterator[Decided]:
        """All decisions of a partition, or those since the opening of the oldest day that is kept.

        :raises ConfigurationError: the log has neither its beginning nor the opening of a day.
        """
        decided = (
            Decided(partition, message.offset() or 0, self._decision(message))
            for message in self._read(self._topics.decisions, partition)
        )
        first = next(decided, None)
        if first is None:
            return
        if first.decision.request_offset != 0:
            while not first.decision.request_id.startswith(OPENING):
                first = next(decided, None)
                if first is None:
                    raise ConfigurationError(
                        f"{self._topics.decisions}-{partition} begins in the middle of a day and no later day has "
                        "begun in it: there is nothing yet to start from."
                    )
        yield from chain([first], decided)

    def requests(self, partition: int) -> Iterator[Logged]:
        """All requests of a partition that are kept."""
        return (self._intake.logged(message) for message in self._read(self._topics.requests, partition))

    def latest(self, topic: str, partition: int) -> dict[bytes, bytes]:
        """The newest value of every key of a compacted topic."""
        rows: dict[bytes, bytes] = {}
        for message in self._read(topic, partition):
            key, value = message.key() or b"", message.value()
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        return rows

    def _decision(self, message: Message) -> CostDecision:
        return cast(CostDecision, self._codec.decode_blocking(DECISIONS, message.value() or b""))

    def _spend(self, value: bytes) -> CostSpend:
        return cast(CostSpend, self._codec.decode_blocking(SPEND, value))

    def _read(self, topic: str, partition: int) -> Iterator[Message]:
        """Up to the end as it is at the start, or up to the first transaction that is still open."""
        consumer = Consumer(
            {
                **self._kafka.librdkafka(),
                "group.id": f"read-{topic}",  # required, never joined
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 20,  # a partition's end is told by an empty fetch
                "auto.offset.reset": "earliest",
            },
            logger=logging.getLogger(LIBRDKAFKA),
        )
        with closing(consumer):
            _, end = _answered(lambda: consumer.get_watermark_offsets(TopicPartition(topic, partition), _ANSWER_S))
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
            while True:
                # One first: `consume` alone would wait for a full chunk.
                first = consumer.poll(_ANSWER_S)
                if first is None:
                    raise Unavailable(f"{topic}-{partition} cannot be read: Kafka does not answer")
                for message in [first, *consumer.consume(_CHUNK, 0)]:
                    error = message.error()
                    if error is None and (message.offset() or 0) < end:
                        yield message
                    elif error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its public name
                        return
                    else:
                        raise Unavailable(f"{topic}-{partition} cannot be read: {error.str()}")


def _answered(ask: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    try:
        return ask()
    except KafkaException as exc:
        raise Unavailable(f"Kafka does not answer: {exc.args[0].str()}") from exc
