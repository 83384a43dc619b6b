"""Confirmed output: a message is out only when the broker has said so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from millrace.cluster import Cluster
from millrace.errors import Poison, Unavailable
from millrace.kafka.records import Header
from millrace.tracing.spans import sending

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4 * 1024 * 1024 + 64 * 1024
"""Beyond the largest message of any topic (schemas/topics.yaml), with its headers; the topic's own limit decides."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
LINGER_S = 0.05
"""How long a message that nobody waits for lingers, so that others go out with it in one request."""


class Producer:
    """An idempotent producer (acks=all, murmur2) that does not give up while the broker is away."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._current: AIOKafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._lingering: asyncio.Event | None = None

    async def start(self) -> None:
        """Connect.

        :raises Unavailable: no broker answers.
        """
        self._current = await self._connect()

    async def stop(self) -> None:
        """Flush and close."""
        await self._flush()
        current, self._current = self._current, None
        if current is not None:
            await current.stop()

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._cluster.aiokafka(),
            enable_idempotence=True,
            acks="all",
            max_request_size=MAX_REQUEST_BYTES,
        )
        try:
            await producer.start()
        except BaseException as exc:  # also when the start is cancelled: its tasks and connections would stay
            await producer.stop()
            if isinstance(exc, KafkaError):
                raise Unavailable(f"Kafka at {self._cluster} does not answer ({type(exc).__name__})") from exc
            raise
        return producer

    async def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes | None,
        headers: Sequence[Header],
        partition: int | None = None,
        linger: bool = False,
    ) -> None:
        """Send and wait until all in-sync replicas have it, for as long as that takes.

        :param linger: True: it goes out just before the next message that does not linger, or after 50 ms; order is
            kept.
        :raises Poison: the message is larger than the topic allows; sending it again cannot help.
        """
        if linger:
            await self._linger()
        else:
            await self._flush()
        wait = _FIRST_WAIT_S
        while True:
            current = self._current
            if current is None:
                raise Unavailable("the producer is closed")
            try:
                with sending(headers) as traced:
                    await current.send_and_wait(topic, value=value, key=key, headers=traced, partition=partition)
            except MessageSizeTooLargeError as exc:
                raise Poison(f"a message of {len(value or b'')} bytes is more than {topic} takes") from exc
            except KafkaError as exc:
                log.warning(
                    "%s: delivery not confirmed (%s); trying again in %.1f s", topic, type(exc).__name__, wait
                )
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT_S)
                await self._replace(current)
            else:
                return

    async def _linger(self) -> None:
        if self._lingering is None or self._lingering.is_set():
            self._lingering = asyncio.Event()
            asyncio.get_running_loop().call_later(LINGER_S, self._lingering.set)
        await self._lingering.wait()

    async def _flush(self) -> None:
        """Let go of what lingers: it is on its way when this returns, before whatever comes next.

        The ledger decides in this order: a cost that was told must have made room for the next request.
        """
        if self._lingering is not None and not self._lingering.is_set():
            self._lingering.set()
            await asyncio.sleep(0)

    async def _replace(self, broken: AIOKafkaProducer) -> None:
        """A producer whose batch was given up may be out of sequence for good: start a fresh one."""
        async with self._replacing:
            replaced_already = self._current is not broken
            if replaced_already:
                return
            try:
                # Its tasks outlive what is under way here.
                fresh = await asyncio.create_task(self._connect(), context=Context())
            except Unavailable as exc:
                log.warning("%s", exc)
                return
            self._current = fresh
        await broken.stop()


@asynccontextmanager
async def open_producer(cluster: Cluster) -> AsyncIterator[Producer]:
    """A started producer, stopped at the end."""
    producer = Producer(cluster)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()
