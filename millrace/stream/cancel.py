"""Stopping what runs for a share that was cancelled or deleted: at once where that is free, else when it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager

from millrace.contracts.events import TaskStatus
from millrace.errors import Cancelled
from millrace.store.cancel import CancelStore
from millrace.stream.statuses import Statuses

LOOK_EVERY_S = 1.0

_WHY = "its share was cancelled or deleted"


class Stop:
    """Whether one job shall go on.

    It is cut off wherever it waits, but not in a call that is paid for: that one ends, and its answer is kept.
    """

    def __init__(self) -> None:
        self._asked = False
        self._paying = 0
        self._scope: asyncio.Timeout | None = None

    def ask(self) -> None:
        """Stop the job as soon as it may be."""
        self._asked = True
        if not self._paying:
            self._pull(at=_now())

    def check(self) -> None:
        """:raises Cancelled: the job shall not go on."""
        if self._asked:
            self._pull(at=None)
            self._scope = None  # what is done about the error is not cut off, however often it is asked again
            raise Cancelled(_WHY)

    @asynccontextmanager
    async def cuts_off(self) -> AsyncIterator[None]:
        """What is done inside is cut off when the job shall stop.

        :raises Cancelled: it was.
        """
        self.check()
        try:
            async with asyncio.timeout(None) as scope:
                self._scope = scope
                yield
        except TimeoutError as exc:
            if not scope.expired():
                raise  # somebody else's
            raise Cancelled(_WHY) from exc
        finally:
            self._scope = None

    @contextmanager
    def paying(self) -> Iterator[None]:
        """What is done inside is paid for, so it is not cut off.

        :raises Cancelled: the job shall stop, and must not begin it.
        """
        self.check()
        self._paying += 1
        try:
            yield
        finally:
            self._paying -= 1
            if self._asked and not self._paying:
                self._pull(at=_now())

    def _pull(self, *, at: float | None) -> None:
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(at)


def _now() -> float:
    return asyncio.get_running_loop().time()


class Stops:
    """The jobs that run in this worker, by their share."""

    def __init__(self) -> None:
        self._running: dict[str, Stop] = {}

    @contextmanager
    def running(self, share_id: str) -> Iterator[Stop]:
        """A job runs inside."""
        stop = self._running[share_id] = Stop()
        try:
            yield stop
        finally:
            if self._running.get(share_id) is stop:
                del self._running[share_id]

    @property
    def shares(self) -> Collection[str]:
        """Those that have a job here."""
        return self._running.keys()

    def ask(self, share_id: str) -> None:
        """Stop a share's job, if one runs here."""
        if (stop := self._running.get(share_id)) is not None:
            stop.ask()


async def watch_cancelled(store: CancelStore, stops: Stops, statuses: Statuses) -> None:
    """Run until cancelled: one look a second for all jobs of a worker."""

    async def tell(status: TaskStatus) -> None:
        await statuses.tell(status)
        await store.told(status)

    while True:
        due = await store.due()
        deleted = await store.deleted_among(stops.shares) if stops.shares else []  # they have no rows any more
        for share_id in (*due.stop, *deleted):
            stops.ask(share_id)
        await asyncio.gather(*map(tell, due.tell))
        await asyncio.sleep(LOOK_EVERY_S)
