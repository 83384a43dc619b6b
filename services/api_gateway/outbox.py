"""The outbox: accepted shares become events, in the order they were accepted, however long Kafka is away."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
from opentelemetry.trace import SpanKind

from millrace.contracts.headers import TRACE_HEADER
from millrace.store.database import Connection
from millrace.store.pool import OUTAGES
from millrace.telemetry.producing import RETRY_QUEUE
from millrace.tracing.spans import moment, recording
from services.api_gateway.link import reconnect_s, retry_s
from services.api_gateway.ports import Gate, OutboxLag, OutboxMessage, OutboxRow, Publisher

log = logging.getLogger(__name__)
_LOCK = 7_215_330_119  # advisory lock: one drainer per database, so that order is kept
_BATCH = 200
_POLL_S = 1.0
_COUNT_EVERY_S = 10.0
_FIRST = 'SELECT seq, topic, key, value, headers, "partition" FROM outbox ORDER BY seq LIMIT $1'
_BEHIND = """
SELECT seq, topic, key, value, headers, "partition" FROM outbox o WHERE seq > $2
   AND NOT EXISTS (SELECT FROM outbox b WHERE b.seq <= $2 AND b.topic = o.topic AND b.key IS NOT DISTINCT FROM o.key)
 ORDER BY seq LIMIT $1
"""
Lane = tuple[str, bytes | None]


async def enqueue(connection: Connection, message: OutboxMessage) -> None:
    """Write a message in the caller's transaction."""
    await connection.execute(
        'INSERT INTO outbox (topic, key, value, headers, "partition") VALUES ($1, $2, $3, $4, $5)',
        message.topic,
        message.key,
        message.value,
        dict(message.headers),
        message.partition,
    )


async def lag(pool: asyncpg.Pool[asyncpg.Record]) -> OutboxLag:
    """How much waits to be published."""
    row = await pool.fetchrow("SELECT count(*) AS messages, min(created_at) AS oldest FROM outbox")
    return OutboxLag(0, None) if row is None else OutboxLag(row["messages"], row["oldest"])


def waves(rows: Sequence[OutboxRow]) -> list[list[OutboxRow]]:
    """What may be sent at once, wave by wave: each has a key's next row, in order.

    A row is sent only when the one before it is confirmed. Sent together, the first may run out of time in the client
    and the second be taken by a broker that comes back between the two.
    """
    found: list[list[OutboxRow]] = []
    sent: Counter[Lane] = Counter()
    for row in rows:
        place = sent[lane(row)]
        sent[lane(row)] += 1
        if place == len(found):
            found.append([])
        found[place].append(row)
    return found


def lane(row: OutboxRow) -> Lane:
    """What order is kept in: a key of a topic."""
    return row.topic, row.key


class Drained(NamedTuple):
    """Of a batch: rows found, rows that left, the first reason why one did not, and `seq` of the last row."""

    found: int
    published: int
    reason: str | None
    last: int


class Drainer:
    """Publishes the outbox while `run` runs. Rows leave it only when Kafka has confirmed them, never by attempts."""

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        publisher: Publisher,
        gate: Gate,
        *,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._gate = gate
        self._jitter = jitter
        self._monotonic = monotonic
        self._woken = asyncio.Event()
        self._stopped = asyncio.Event()
        self._count_at = monotonic()
        self._behind = 0
        """Rows up to here were all refused and wait for the next pass: they hold up their own keys only."""
        self.drains = False
        """Whether it is the one drainer of its database."""

    def stop(self) -> None:
        """End `run` after the batch under way, so that what was published also leaves the outbox."""
        self._stopped.set()

    def wake(self) -> None:
        """There is something new: do not wait for the next poll."""
        self._woken.set()

    async def run(self) -> None:
        """Drain until stopped; outages of Kafka and PostgreSQL are waited for."""
        failures = 0
        while not self._stopped.is_set():
            try:
                async with self._sole_drainer() as connection:
                    while connection is not None and not self._stopped.is_set():
                        failures = await self._round(connection, failures)
                await self._count(self._pool)
            except OUTAGES as exc:
                failures += 1
                log.warning("The outbox waits: PostgreSQL is away (%s)", type(exc).__name__)
                await self._until(reconnect_s(failures - 1, self._jitter()))
            else:
                await self._until(_POLL_S)  # another gateway drains; take over when it is gone

    async def _round(self, connection: Connection, failures: int) -> int:
        """One batch and the wait after it; returns the fruitless rounds in a row."""
        await self._count(connection)
        if not await self._until(_COUNT_EVERY_S, self._gate.opened()):
            return failures  # nothing is sent while Kafka is away, however much is new
        self._woken.clear()
        found, published, reason, last = await drain_once(connection, self._publisher, behind=self._behind)
        if found == _BATCH and (published or not self._gate.failing):
            if self._behind or not published:
                self._behind = last
            return 0 if published else failures
        found, self._behind = found or self._behind, 0
        if found and not published:
            wait = retry_s(failures + 1, self._jitter())
            log.warning("The outbox waits %.1f s: Kafka has not confirmed what is in it (%s)", wait, reason)
            await self._until(wait, None if self._gate.failing else self._woken.wait())
            return failures + 1
        await self._until(_POLL_S, self._woken.wait())  # then look anyway: another gateway may have written
        return 0

    async def _until(self, seconds: float, event: Coroutine[Any, Any, object] | None = None) -> bool:
        """Wait so long, but no longer than until an event, or until we are to stop; whether the event has come."""
        awaited = None if event is None else asyncio.ensure_future(event)
        tasks = {asyncio.ensure_future(self._stopped.wait())} | ({awaited} if awaited else set())
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return awaited is not None and awaited.done() and not self._stopped.is_set()
        finally:
            for task in tasks:
                task.cancel()

    async def _count(self, connection: Connection | asyncpg.Pool[asyncpg.Record]) -> None:
        """Show, not too often, how much waits."""
        if self._monotonic() >= self._count_at:
            self._count_at = self._monotonic() + _COUNT_EVERY_S
            RETRY_QUEUE.set(await connection.fetchval("SELECT count(*) FROM outbox"))

    @asynccontextmanager
    async def _sole_drainer(self) -> AsyncIterator[Connection | None]:
        """A connection that holds the lock of the one drainer, or None while somebody else holds it.

        The lock belongs to the session: when this process or its connection dies, PostgreSQL frees it.
        """
        async with self._pool.acquire() as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                yield None
                return
            self.drains = True
            try:
                yield connection
            finally:
                self.drains = False
                if not connection.is_closed():
                    await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def drain_once(connection: Connection, publisher: Publisher, *, behind: int = 0) -> Drained:
    """Publish one batch.

    :param behind: `seq` of the last row that is passed over, with what comes later of the same keys.
    """
    asked = connection.fetch(_BEHIND, _BATCH, behind) if behind else connection.fetch(_FIRST, _BATCH)
    rows = [OutboxRow(*record.values()) for record in await asked]
    if not rows:
        return Drained(0, 0, None, behind)
    left, reason = 0, None
    stuck: set[Lane] = set()
    for wave in waves(rows):
        sent = [row for row in wave if lane(row) not in stuck]
        if not sent:
            break  # what comes later is of the same lanes
        began = time.time_ns()
        failures = await publisher.publish(sent)
        _trace(began, sent, failures)
        done = [row.seq for row, failure in zip(sent, failures, strict=True) if failure is None]
        if done:
            await connection.execute("DELETE FROM outbox WHERE seq = ANY($1::bigint[])", done)
        left += len(done)
        stuck |= {lane(row) for row, failure in zip(sent, failures, strict=True) if failure is not None}
        reason = reason or next((failure for failure in failures if failure is not None), None)
    return Drained(len(rows), left, reason, rows[-1].seq)


def _trace(began_ns: int, sent: Sequence[OutboxRow], failures: Sequence[str | None]) -> None:
    """Show, in the traces of what was accepted, when Kafka has confirmed it."""
    if recording():
        for row, failure in zip(sent, failures, strict=True):
            if failure is None:
                trace = row.headers.get(TRACE_HEADER)
                moment(f"send {row.topic}", trace, began_ns, kind=SpanKind.PRODUCER)
