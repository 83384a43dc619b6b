"""The bounded pool between a Faust stream and its jobs: order per key, acknowledgement in offset order.

stream.noack() ──▶ admit: judge the offset, track, wait for a place ──▶ one task a record, in order per key
                                                                 finished ──▶ acknowledge all that may be
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import NoReturn

from millrace.clock import Clock
from millrace.kafka.records import Message, Partition
from millrace.stream.acks import OrderedAcks
from millrace.stream.ports import Source, Stream, StreamEvent
from millrace.stream.positions import Arrival, Positions

log = logging.getLogger(__name__)

EXIT_GAP = 70
"""Exit status when records were skipped: nothing after the gap was acknowledged, so a restart fetches them again."""


Execute = Callable[[Message], Awaitable[None]]


async def at_once(_: Message) -> None:
    """Holds no record back."""


def die_of_gap(at: Partition, expected: int, got: int) -> NoReturn:
    """End the process with nothing acknowledged beyond the gap."""
    log.critical(
        "%s-%d: expected offset %d, got %d; stopping so that a restart fetches the gap",
        at.topic,
        at.partition,
        expected,
        got,
    )
    os._exit(EXIT_GAP)


class JobPool:
    """Runs at most `concurrency` jobs and holds at most `prefetch` more; the fetch waits beyond that.

    :param hold: returns when a record's job may begin; a job that is held has a place, and has not begun.
    """

    def __init__(
        self,
        execute: Execute,
        source: Source,
        clock: Clock,
        *,
        concurrency: int,
        prefetch: int,
        max_held: int = 1000,
        hold: Execute = at_once,
        on_gap: Callable[[Partition, int, int], None] = die_of_gap,
    ) -> None:
        self._execute = execute
        self._source = source
        self._clock = clock
        self._slots = asyncio.Semaphore(concurrency)
        self._room = asyncio.Semaphore(concurrency + prefetch)
        self._max_held = max_held
        self._hold = hold
        self._on_gap = on_gap
        self._acks: OrderedAcks[StreamEvent] = OrderedAcks()
        self._positions = Positions()
        self._running: dict[tuple[Partition, int], asyncio.Task[None]] = {}
        self._started: dict[tuple[Partition, int], datetime] = {}
        self._tails: dict[bytes, asyncio.Task[None]] = {}
        self._pumping = 0
        self._moved = asyncio.Event()
        self.closing = False

    @property
    def active(self) -> int:
        """Jobs that are running now."""
        return len(self._started)

    @property
    def held(self) -> int:
        """Records that are not acknowledged yet."""
        return self._acks.unfinished()

    @property
    def has_room(self) -> bool:
        """It would take another record."""
        return not self._room.locked()

    def began(self, at: Partition) -> int:
        """Where the present assignment of a partition began."""
        return self._source.starts().get(at, 0)

    def undone(self, at: Partition) -> int:
        """First offset that is not done; what is before it may be committed."""
        oldest = self._acks.oldest(at)
        return self.expected(at) if oldest is None else oldest

    @property
    def idle(self) -> bool:
        """No record is on its way into the pool, and no rebalance is under way that will deliver some again."""
        return self._pumping == 0 and self._source.flowing()

    def oldest_start(self) -> datetime | None:
        """When the longest-running job began."""
        return min(self._started.values(), default=None)

    def expected(self, at: Partition) -> int:
        """Offset that must come next."""
        return self._positions.expected(at, self._source.starts())

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget revoked partitions; their jobs run on, and redelivered records attach to them again."""
        gone = list(partitions)
        self._acks.drop(gone)
        self._positions.drop(gone)

    async def pump(self, stream: Stream) -> None:
        """Body of a Faust agent: take every event into the pool. Nothing escapes it but cancellation."""
        async for event in stream.noack().events():
            self._pumping += 1
            try:
                await self._admit_when_room(event)
            finally:
                self._pumping -= 1

    async def _admit_when_room(self, event: StreamEvent) -> None:
        await self._room.acquire()
        while self.closing or self._acks.unfinished() > self._max_held:
            self._moved.clear()
            await self._moved.wait()
        if not self._admit(event):
            self._room.release()

    def _admit(self, event: StreamEvent) -> bool:
        """True when a new task was started for the event."""
        raw = event.message
        if raw.generation_id != self._source.generation() or not self._source.flowing():
            return False  # fetched before a rebalance: it is delivered again
        at = Partition(raw.topic, raw.partition)
        match self._positions.arrive(at, raw.offset, self._source.starts()):
            case Arrival.GAP:
                self._on_gap(at, self.expected(at), raw.offset)
                return False
            case Arrival.REPEATED:
                return False
            case Arrival.NEXT:
                pass
        self._acks.track(at, raw.offset, event)
        place = (at, raw.offset)
        if place in self._running:
            return False  # still running from before a rebalance: its end acknowledges this event
        # A header may have no value, as JSON's null; nobody here tells that from an empty one.
        headers = {name: value or b"" for name, value in dict(raw.headers or {}).items()}
        message = Message(at, raw.offset, raw.key or b"", raw.value or b"", headers, raw.value is None)
        task = asyncio.create_task(self._one(message, self._tails.get(message.key)))
        self._running[place] = self._tails[message.key] = task
        task.add_done_callback(lambda done: self._forget(done, message))
        return True

    async def _one(self, message: Message, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        async with self._slots:
            await self._hold(message)
            self._started[message.at, message.offset] = self._clock.now()
            await self._execute(message)
        for event in self._acks.finish(message.at, message.offset):
            event.ack()

    def _forget(self, task: asyncio.Task[None], message: Message) -> None:
        place = (message.at, message.offset)
        self._running.pop(place, None)
        self._started.pop(place, None)
        if self._tails.get(message.key) is task:
            del self._tails[message.key]
        self._room.release()
        self._moved.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # `execute` routes every error; one that escapes is a fault of ours. The record comes again.
            what = "%s-%d@%d escaped its runner; stopping without acknowledging it"
            log.critical(what, message.at.topic, message.at.partition, message.offset, exc_info=error)
            os._exit(EXIT_GAP)

    async def drain(self, seconds: float) -> int:
        """Start nothing more, give running jobs `seconds`, then cancel the rest unacknowledged; returns how many."""
        self.closing = True
        tasks = list(self._running.values())
        for place, task in self._running.items():
            if place not in self._started:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5)
        return sum(task.cancelled() or not task.done() for task in tasks)
