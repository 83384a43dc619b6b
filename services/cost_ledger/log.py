"""One partition's log: everything the single writer reads and writes in Kafka, in transactions that fence.

Safety rests on four facts, none of which needs the timing of rebalances:

1. One transaction carries a batch's rows, its position and its decisions: all or nothing.
2. The transactional id names the partition, so a new owner's InitProducerId fences the old one.
3. After fencing, the owner commits a fence row and loads the rows up to its offset: nobody can have written after it.
4. The position is a row too, so each request is decided exactly once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from millrace.contracts.events import CostDecision, Event
from millrace.contracts.headers import continue_trace, headers
from millrace.ledger.topics import DECISIONS, REQUEST_ID_HEADER, LedgerTopics
from services.cost_ledger.rows import (
    FENCE_KEY,
    POSITION_KEY,
    Fence,
    Position,
    decode,
    decode_position,
    encode_row,
)
from services.cost_ledger.state import Batch, Written

log = logging.getLogger(__name__)

TRANSACTION_TIMEOUT_MS = 15_000
LOAD_STALL_S = 30.0
_FETCH_BYTES = 8 * 1024 * 1024
_BATCH_BYTES = 900_000  # below the broker's limit of a request; transactions are larger than one batch


class Broken(Exception):
    """What the log holds cannot be trusted, or cannot be written; the process must end."""


class Encoder(Protocol):
    """Turns events into messages; `millrace.contracts.wire.Codec` is one."""

    def encode(self, topic: str, event: Event) -> bytes:
        """The event as bytes for the topic."""
        ...


@dataclass(frozen=True)
class LogSetup:
    """What all partitions of one ledger share. `owner` names the process, for people."""

    kafka: str
    topics: LedgerTopics
    app_id: str
    owner: str
    encoder: Encoder


class PartitionLog:
    """Reads and writes of one partition by its only owner."""

    def __init__(self, setup: LogSetup, partition: int) -> None:
        self._setup = setup
        self._partition = partition
        self._producer = AIOKafkaProducer(
            bootstrap_servers=setup.kafka,
            transactional_id=f"{setup.app_id}-{partition}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            acks="all",
            linger_ms=0,
            max_batch_size=_BATCH_BYTES,
        )

    async def open(self) -> tuple[list[Written], Position]:
        """Fence every earlier owner, then read what was committed.

        :raises Broken: the rows are not readable, or the log does not reach the fence.
        """
        await self._producer.start()
        fence = encode_row(Fence(self._setup.owner))
        offset = await self._transact([_Record(self._setup.topics.rows, FENCE_KEY, fence)])
        return await self._read_to(offset)

    async def close(self) -> None:
        """Leave; an open transaction is aborted by the next owner."""
        await self._producer.stop()

    async def commit(self, batch: Batch, traces: Mapping[int, str | None]) -> None:
        """Write a batch in one transaction; when this returns, it is durable and visible.

        `traces` maps a request's offset to the trace that it came with.

        Raises whatever Kafka says: after that nobody knows whether it was committed, only the log does.
        """
        topics = self._setup.topics
        records = [_Record(topics.rows, row.raw_key, row.raw_row) for row in batch.written]
        records.append(_Record(topics.rows, POSITION_KEY, encode_row(batch.position)))
        records += [self._decision(decision, traces) for decision in batch.decisions]
        await self._transact(records)

    def _decision(self, decision: CostDecision, traces: Mapping[int, str | None]) -> _Record:
        about = headers(
            DECISIONS,
            f"{self._partition}:{decision.request_offset}:{decision.request_id}",
            source="cost_ledger",
            subject=decision.account,
            time=decision.decided_at,
            traceparent=continue_trace(traces.get(decision.request_offset)),
        )
        about.append((REQUEST_ID_HEADER, decision.request_id.encode()))
        value = self._setup.encoder.encode(DECISIONS, decision)
        return _Record(self._setup.topics.decisions, decision.account.encode(), value, about)

    async def _transact(self, records: Iterable[_Record]) -> int:
        """Write records atomically; the offset of the last one on its topic."""
        await self._producer.begin_transaction()
        sent = [
            await self._producer.send(
                record.topic, record.value, record.key, partition=self._partition, headers=record.headers
            )
            for record in records
        ]
        # aiokafka commits a transaction in which a send has failed: without this wait it could be a torn one.
        delivered = await asyncio.gather(*sent)
        await self._producer.commit_transaction()
        return int(delivered[-1].offset)

    async def _read_to(self, fence: int) -> tuple[list[Written], Position]:
        """Rows up to the fence's offset. By offset, not by content: that stops even if the row repeats."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._setup.kafka,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
        tp = TopicPartition(self._setup.topics.rows, self._partition)
        rows: dict[bytes, bytes] = {}
        seen, position = -1, Position()
        loop = asyncio.get_running_loop()
        await consumer.start()
        try:
            consumer.assign([tp])
            await consumer.seek_to_beginning(tp)
            moved_at = loop.time()
            while seen < fence:
                found = await consumer.getmany(tp, timeout_ms=1000, max_records=5000)
                for record in found.get(tp, []):
                    seen, moved_at = record.offset, loop.time()
                    if record.value is None:
                        rows.pop(record.key, None)
                    else:
                        rows[record.key] = record.value
                if loop.time() - moved_at > LOAD_STALL_S:
                    raise Broken(f"{tp.topic}-{tp.partition} was not readable up to offset {fence}")
        finally:
            await consumer.stop()
        try:
            position = decode_position(rows.pop(POSITION_KEY)) if POSITION_KEY in rows else Position()
            rows.pop(FENCE_KEY, None)
            return [Written(*decode(key, value), key, value) for key, value in rows.items()], position
        except (ValueError, TypeError) as exc:
            raise Broken(f"{tp.topic}-{tp.partition} holds a row that this version does not read: {exc}") from exc


@dataclass(frozen=True, slots=True)
class _Record:
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]] | None = None
