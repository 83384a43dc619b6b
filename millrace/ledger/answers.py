"""Reads the ledger's decisions and hands each to whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from millrace.cluster import Cluster
from millrace.contracts.events import CostDecision, CostOp
from millrace.contracts.headers import header
from millrace.contracts.wire import Codec
from millrace.errors import Poison, Unavailable
from millrace.ledger.topics import DECISIONS, REQUEST_ID_HEADER

log = logging.getLogger(__name__)

_POLL_MS: Final = 500
_IDLE_S: Final = 1.0
"""How often decisions are read past while nobody waits for one: each would wake every client of the ledger."""
_PAUSE_S: Final = 1.0
Answer = asyncio.Queue[CostDecision]


class Answers:
    """A reader of all partitions of the decisions topic, in no group, from the end: every client sees every answer.

    While it is behind or broken nobody gets an answer, so whoever waits times out: it fails closed.
    """

    def __init__(self, kafka: Cluster, topic: str, partitions: int, codec: Codec) -> None:
        self._kafka = kafka
        self._partitions = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._codec = codec
        self._waiting: dict[str, list[tuple[CostOp, Answer]]] = defaultdict(list)
        self._positions: dict[TopicPartition, int] = {}
        self._reading: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    async def start(self) -> None:
        """Return when the reader's positions are fixed: no answer to a later request can be missed.

        :raises Unavailable: Kafka does not answer.
        """
        consumer = self._consumer()
        try:
            await consumer.start()
            self._positions = dict(await consumer.end_offsets(self._partitions))
        except KafkaError as exc:
            await consumer.stop()
            raise Unavailable(f"Kafka at {self._kafka} does not answer ({type(exc).__name__})") from exc
        self._reading = asyncio.create_task(self._read(consumer))

    async def stop(self) -> None:
        """Stop reading; who still waits gets no answer."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    @contextmanager
    def expect(self, request_id: str, op: CostOp) -> Iterator[Answer]:
        """Collect the answers to a request while the context is open; open it before asking."""
        answers = Answer()
        self._waiting[request_id].append((op, answers))
        self._wanted.set()
        try:
            yield answers
        finally:
            left = [waiting for waiting in self._waiting.pop(request_id) if waiting[1] is not answers]
            if left:
                self._waiting[request_id] = left
            if not self._waiting:
                self._wanted.clear()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        """Read for ever; a consumer that fails is replaced and goes on where it was."""
        current: AIOKafkaConsumer | None = consumer
        while True:
            try:
                if current is None:
                    current = self._consumer()
                    await current.start()
                await self._read_with(current)
            except (KafkaError, Unavailable) as exc:
                log.warning("decisions of the ledger cannot be read (%s); trying again", exc)
                await asyncio.sleep(_PAUSE_S)
            except Exception:  # were the reading to end here, every reserve would time out for ever
                log.exception("decisions of the ledger cannot be read; trying again")
                await asyncio.sleep(_PAUSE_S)
            finally:
                if current is not None:
                    await current.stop()
                    current = None

    async def _read_with(self, consumer: AIOKafkaConsumer) -> None:
        consumer.assign(list(self._positions))
        for tp, offset in self._positions.items():
            consumer.seek(tp, offset)
        while True:
            if not self._wanted.is_set():
                await self._rest(consumer)
            for tp, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                for record in records:
                    await self._hand_out(record)
                    self._positions[tp] = record.offset + 1

    async def _rest(self, consumer: AIOKafkaConsumer) -> None:
        """Read nothing until somebody waits for an answer.

        All partitions are paused: aiokafka would go on with those whose last records were taken, and while that fetch
        waits for records, the others would not be read.
        """
        consumer.pause(*self._positions)
        with suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):
                await self._wanted.wait()
        consumer.resume(*self._positions)

    async def _hand_out(self, record: ConsumerRecord) -> None:
        request_id = header(record.headers, REQUEST_ID_HEADER)
        if request_id not in self._waiting:
            return
        try:
            decision = await self._codec.decode(DECISIONS, record.value or b"")
        except Poison as exc:
            log.warning("%s-%d@%d is not readable: %s", record.topic, record.partition, record.offset, exc)
            return
        if isinstance(decision, CostDecision) and decision.outcome != "day-opened":
            for op, answers in self._waiting.get(decision.request_id, ()):
                if op == decision.op:
                    answers.put_nowait(decision)

    def _consumer(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            **self._kafka.aiokafka(),
            # By default aiokafka hands out records of aborted transactions: grants that were never given.
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
