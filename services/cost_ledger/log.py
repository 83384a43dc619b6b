"""One partition's log: everything the single writer reads and writes in Kafka, in transactions that fence.

Safety rests on four facts, none of which needs the timing of rebalances:

1. One transaction carries a batch's rows, its position and its decisions: all or nothing.
2. The transactional ids name the partition, so a new owner's InitProducerId fences the old one.
3. After fencing, the owner commits a fence row and loads the rows up to its offset: nobody can have written after it.
4. The position is a row too, so each request is decided exactly once.

Two transactional ids take turns: after a commit the broker writes the markers of that transaction, and until it has,
a producer waits 20 ms before its next one. By turns a transaction takes 6 ms instead of 30. The order holds: a turn
begins when the other's commit is decided, and nothing can undo that. A new owner fences both before it reads.

librdkafka rather than aiokafka, because it refuses to commit a transaction of which a message was not delivered.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle
from typing import Final, NamedTuple, Protocol, TypeAlias

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from millrace.cluster import Cluster
from millrace.contracts.events import CostDecision, Event
from millrace.contracts.headers import headers, new_trace, parse_traceparent
from millrace.ledger.topics import DECISIONS, REQUEST_ID_HEADER, LedgerTopics
from millrace.telemetry.logs import LIBRDKAFKA
from services.cost_ledger.rows import FENCE_KEY, POSITION_KEY, Fence, Position, encode_row
from services.cost_ledger.state import Batch, Written, decoded

TRANSACTION_TIMEOUT_S: Final = 15
LOAD_STALL_S: Final = 30.0
_TURNS: Final = ("a", "b")
_BATCH_BYTES: Final = 900_000  # below the broker's limit of a request; transactions are larger than one batch
FULL_QUEUE_S: Final = 0.1


Delivered: TypeAlias = Callable[[KafkaError | None, Message], None]


class Loaded(NamedTuple):
    """What a new owner finds: rows, how far they go, and the oldest offset that the request log still has."""

    rows: list[Written]
    position: Position
    first_kept: int


class Stored(NamedTuple):
    """The same as bytes: the newest row of every key, position and fence among them."""

    rows: dict[bytes, bytes]
    first_kept: int


class Broken(Exception):
    """What the log holds cannot be trusted, or cannot be written; the process must end. The text says what to do."""


class Encoder(Protocol):
    """Turns events into messages; `millrace.contracts.wire.Codec` is one."""

    def encode(self, topic: str, event: Event) -> bytes:
        """The event as bytes for the topic."""
        ...


@dataclass(frozen=True)
class LogSetup:
    """What all partitions of one ledger share. `owner` names the process, for people."""

    kafka: Cluster
    topics: LedgerTopics
    app_id: str
    owner: str
    encoder: Encoder

    def transactional_ids(self, partition: int) -> tuple[str, ...]:
        """Those of a partition's owner, whoever that is: sharing them is what fences."""
        return tuple(f"{self.app_id}-{partition}-{turn}" for turn in _TURNS)


class PartitionLog:
    """Reads and writes of one partition by its only owner. Blocking; for one thread at a time."""

    def __init__(self, setup: LogSetup, partition: int) -> None:
        self._setup = setup
        self._partition = partition
        self._writers: list[Producer] = []
        self._turns = cycle(self._writers)

    def open(self) -> Loaded:
        """Fence every earlier owner, then read what was committed.

        :raises Broken: the rows are not readable, or the log does not reach the fence.
        :raises KafkaException: the broker says no, or nothing for 15 s.
        """
        stored = self.fence()
        try:
            return Loaded(*decoded(stored.rows), stored.first_kept)
        except (ValueError, TypeError) as exc:
            raise Broken(
                f"{self._rows_shown} holds a row that this version does not read ({exc}): start the version that "
                "wrote it, or stop the ledger and run `millrace budget rebuild`"
            ) from exc

    def fence(self) -> Stored:
        """Become the only writer, then read what was committed, whatever it says.

        :raises Broken: the log does not reach the fence.
        :raises KafkaException: the broker says no, or nothing for 15 s.
        """
        ids = self._setup.transactional_ids(self._partition)
        with ThreadPoolExecutor(len(ids)) as at_once:  # librdkafka may wait 0.5 s for each one's coordinator
            self._writers.extend(at_once.map(self._ready_writer, ids))
        self._turns = cycle(self._writers)
        return self._read_to(self._write_fence())

    def close(self) -> None:
        """Leave; an open transaction is aborted by the next owner."""
        self._writers.clear()
        self._turns = cycle(self._writers)

    def commit(self, batch: Batch, traces: Mapping[int, str | None]) -> None:
        """Write a batch in one transaction; when this returns, it is durable.

        `traces` maps a request's offset to the trace that it came with.

        :raises KafkaException: after that nobody knows whether it was committed, only the log does.
        """
        topics = self._setup.topics
        records = [_Record(topics.rows, row.raw_key, row.raw_row) for row in batch.written]
        records.append(_Record(topics.rows, POSITION_KEY, encode_row(batch.position)))
        records += [self._decision(decision, traces) for decision in batch.decisions]
        self._transact(records)

    def mend(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Write rows as they have to be, in one transaction, after `fence`; None removes one.

        :raises KafkaException: it is not known whether they were written.
        """
        self._transact([_Record(self._setup.topics.rows, key, value) for key, value in rows])

    def _ready_writer(self, transactional_id: str) -> Producer:
        """Whoever had the id before is shut out."""
        writer = Producer(
            {
                **self._setup.kafka.librdkafka(),
                "transactional.id": transactional_id,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_S * 1000,
                "acks": "all",
                "linger.ms": 0,
                "batch.size": _BATCH_BYTES,
                "reconnect.backoff.max.ms": 2000,
            },
            logger=logging.getLogger(LIBRDKAFKA),
        )
        writer.init_transactions(TRANSACTION_TIMEOUT_S)
        return writer

    def _decision(self, decision: CostDecision, traces: Mapping[int, str | None]) -> _Record:
        about = headers(
            DECISIONS,
            f"{self._partition}:{decision.request_offset}:{decision.request_id}",
            source="cost_ledger",
            subject=decision.account,
            time=decision.decided_at,
            # As it came: `partition.py` notes what is done about it.
            traceparent=parse_traceparent(traces.get(decision.request_offset)) or new_trace(sampled=False),
        )
        about.append((REQUEST_ID_HEADER, decision.request_id.encode()))
        value = self._setup.encoder.encode(DECISIONS, decision)
        return _Record(self._setup.topics.decisions, decision.account.encode(), value, about)

    def _write_fence(self) -> int:
        """Its offset on the rows topic."""
        offsets: list[int | None] = []
        fence = _Record(self._setup.topics.rows, FENCE_KEY, encode_row(Fence(self._setup.owner)))
        self._transact([fence], lambda _, message: offsets.append(message.offset()))
        offset = offsets[-1] if offsets else None
        if offset is None:
            raise Broken(f"{self._rows_shown} took a fence and did not say where: start the ledger again")
        return offset

    def _transact(self, records: Iterable[_Record], delivered: Delivered | None = None) -> None:
        """Write records atomically; `delivered` is told of each, which costs: a batch does without."""
        writer = next(self._turns)
        writer.begin_transaction()
        for record in records:
            self._produce(writer, record, delivered)
        writer.commit_transaction(TRANSACTION_TIMEOUT_S)

    def _produce(self, writer: Producer, record: _Record, delivered: Delivered | None) -> None:
        while True:
            try:
                writer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    self._partition,
                    on_delivery=delivered,
                    headers=[*record.headers],
                )
            except BufferError:  # librdkafka holds 100,000 messages: more than that is a day's opening
                writer.poll(FULL_QUEUE_S)
            else:
                return

    def _read_to(self, fence: int) -> Stored:
        """Rows up to the fence's offset. By offset, not by content: that stops even if the row repeats."""
        # A consumer for each topic: librdkafka looks for the leaders of a second topic every 0.5 s only.
        with closing(self._reader()) as consumer:
            requests = TopicPartition(self._setup.topics.requests, self._partition)
            first_kept, _ = consumer.get_watermark_offsets(requests, TRANSACTION_TIMEOUT_S)
        with closing(self._reader()) as consumer:
            return Stored(self._latest_rows(consumer, fence), first_kept)

    def _reader(self) -> Consumer:
        return Consumer(
            {
                **self._setup.kafka.librdkafka(),
                "group.id": f"{self._setup.app_id}-rows",  # required, never joined
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                # The fence becomes readable a moment after its commit, and a fetch in waiting does not notice that.
                "fetch.wait.max.ms": 20,
            },
            logger=logging.getLogger(LIBRDKAFKA),
        )

    def _latest_rows(self, consumer: Consumer, fence: int) -> dict[bytes, bytes]:
        rows: dict[bytes, bytes] = {}
        consumer.assign([TopicPartition(self._setup.topics.rows, self._partition, OFFSET_BEGINNING)])
        seen, moved_at = -1, time.monotonic()
        while seen < fence:
            for message in consumer.consume(10_000, 0.1):
                if message.error() is not None:
                    raise KafkaException(message.error())
                seen, moved_at = message.offset() or 0, time.monotonic()
                key, value = message.key() or b"", message.value()
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
            if time.monotonic() - moved_at > LOAD_STALL_S:
                raise Broken(
                    f"{self._rows_shown} was not readable up to offset {fence}: see that all brokers of Kafka run, "
                    "then start the ledger again"
                )
        return rows

    @property
    def _rows_shown(self) -> str:
        return f"{self._setup.topics.rows}-{self._partition}"


@dataclass(frozen=True, slots=True)
class _Record:
    """`value` None: the row is gone."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
