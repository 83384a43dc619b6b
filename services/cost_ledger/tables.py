"""Faust's side of the ledger: the application's transport, its tables, and re-reading the decisions topic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final, TypeAlias, cast

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from millrace.cluster import Cluster
from millrace.contracts.events import CostDecision, CostSpend
from millrace.contracts.headers import Headers, headers, new_trace
from millrace.contracts.partitions import row_key
from millrace.contracts.wire import Codec
from millrace.kafka.producer import Producer
from millrace.ledger.topics import DECISIONS, SPEND
from millrace.stream.faust_app import SafeConsumer, SafeTransport
from services.cost_ledger.decode import decode_patiently
from services.cost_ledger.spend import Decided, Home, JsonRow, Rows, partition_of

_CHUNK: Final = 1000
_FETCH_BYTES: Final = 256 * 1024
_FETCH_WAIT_MS: Final = 200
Ends: TypeAlias = Callable[[Iterable[int]], Awaitable[dict[int, int]]]


class ReadCommittedThread(AIOKafkaConsumerThread):
    """Faust's consumer thread, reading committed.

    Faust reads committed only under `exactly_once`; otherwise it hands out grants of aborted transactions. The one
    thing it asks when it makes its consumer is this flag.
    """

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:  # noqa: ANN401  # Faust's transport
        self.consumer.in_transaction = True
        try:
            consumer = super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = False
        # Nobody waits for the tables: decisions are fetched a few times a second together, not each alone.
        consumer._fetch_min_bytes, consumer._fetch_max_wait_ms = _FETCH_BYTES, _FETCH_WAIT_MS  # noqa: SLF001
        return consumer


class ReadCommittedConsumer(SafeConsumer):
    """The safe consumer on that thread, for a topic with a gap behind every transaction: the marker of its end.

    Faust keeps such gaps in a tree that it merges anew at each, a fifth of the tables' time. Here it need not know
    them: decisions are acknowledged in order, and how far the tables are stands in themselves.
    """

    def _new_consumer_thread(self) -> ReadCommittedThread:
        return ReadCommittedThread(self, loop=self.loop, beacon=self.beacon)

    async def _add_gap(self, tp: faust.types.TP, offset_from: int, offset_to: int) -> None:
        """Nothing to keep."""

    def _new_offset(self, tp: faust.types.TP) -> int | None:
        """Behind the last decision that was acknowledged."""
        acked = self._acked[tp]
        if not acked:
            return None
        newest = int(max(acked))
        acked.clear()
        self._acked_index[tp].clear()
        return newest + 1


class ReadCommittedTransport(SafeTransport):
    """Faust's transport with that consumer."""

    Consumer: ClassVar[type[ReadCommittedConsumer]] = ReadCommittedConsumer


class SpendTable(faust.Table[str, JsonRow]):
    """A table whose keys say which partition they belong to, so that it can be written in batches."""

    def __init__(self, app: faust.App, *, home: Home, **options: Any) -> None:  # noqa: ANN401  # Faust's options
        super().__init__(app, **options)
        self._home = home

    def partition_for_key(self, key: str) -> int:
        """The partition of the key's account."""
        return partition_of(key, self._home)


def declare(app: faust.App, name: str, partitions: int, home: Home) -> Rows:
    """Add a table of spend rows to an application, seen as what it is to us: a mapping."""
    table = SpendTable(app, home=home, name=name, partitions=partitions, key_type=str)
    return cast(Rows, app.tables.add(table))


class KafkaDecisions:
    """Re-reads committed decisions from Kafka."""

    def __init__(self, kafka: Cluster, topic: str, codec: Codec) -> None:
        self._kafka = kafka
        self._topic = topic
        self._codec = codec

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._kafka.aiokafka(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

    async def between(self, partition: int, start: int, stop: int) -> AsyncIterator[list[Decided]]:
        """See `DecisionLog.between`; there has to be a record, or a transaction's marker, before or at `stop`."""
        tp = TopicPartition(self._topic, partition)
        async with self._consumer() as consumer:
            consumer.assign([tp])
            consumer.seek(tp, start)
            while await consumer.position(tp) < stop:
                found = await consumer.getmany(tp, timeout_ms=1000, max_records=_CHUNK)
                chunk = [
                    Decided(partition, record.offset, await self._decode(record.value))
                    for record in found.get(tp, [])
                    if record.offset < stop
                ]
                if chunk:
                    yield chunk

    @asynccontextmanager
    async def ends(self) -> AsyncIterator[Ends]:
        """A way to ask where partitions end: the offset before which every transaction is over."""
        async with self._consumer() as consumer:

            async def ask(partitions: Iterable[int]) -> dict[int, int]:
                tps = [TopicPartition(self._topic, partition) for partition in partitions]
                found = await consumer.end_offsets(tps) if tps else {}
                return {tp.partition: offset for tp, offset in found.items()}

            yield ask

    async def _decode(self, raw: bytes) -> CostDecision:
        return cast(CostDecision, await decode_patiently(self._codec, DECISIONS, raw))


class SpendPublisher:
    """Writes rows of the spend topic, keyed `account|scope|window|start`, beside their account's decisions."""

    def __init__(self, producer: Producer, codec: Codec, topic: str, home: Home) -> None:
        self._producer = producer
        self._codec = codec
        self._topic = topic
        self._home = home

    async def publish(self, rows: Sequence[CostSpend]) -> None:
        """Send, and wait until all are confirmed; the rows of one call are about different windows."""
        await asyncio.gather(*(self._send(row) for row in rows))

    async def _send(self, row: CostSpend) -> None:
        key, about = spend_key(row), spend_headers(row)
        await self._producer.send(
            self._topic,
            key=key,
            value=self._codec.encode(SPEND, row),
            headers=about,
            partition=self._home(row.account),
        )


def spend_key(row: CostSpend) -> bytes:
    """Key of a row of the spend topic."""
    return row_key(row.account, row.scope, row.window, f"{row.start:%Y-%m-%dT%H:%M:%SZ}").encode()


def spend_headers(row: CostSpend) -> Headers:
    """Headers of a row of the spend topic."""
    key = spend_key(row).decode()
    return headers(
        SPEND,
        f"{key}@{row.as_of_offset}",
        source="cost_ledger",
        subject=key,
        time=row.updated_at,
        traceparent=new_trace(sampled=False),
    )
