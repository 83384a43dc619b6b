"""What the core lends to a handler while it works: paid calls, a place to show progress, and checkpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from pydantic import BaseModel

from millrace.clock import Clock
from millrace.contracts.events import StageName
from millrace.models.port import Paid
from millrace.money import MicroUSD
from millrace.store.jobs import JobStore
from millrace.stream.calls import Calls
from millrace.stream.cancel import Stop
from millrace.stream.checkpoints import Checkpoints

A = TypeVar("A", bound=BaseModel)

SHOWN_EVERY = timedelta(seconds=0.5)


class JobRun:
    """Implements `millrace.stream.stage.Run` for one job; writes progress at most twice a second."""

    def __init__(
        self,
        calls: Calls,
        jobs: JobStore,
        checkpoints: Checkpoints,
        *,
        share_id: str,
        stage: StageName,
        clock: Clock,
        stop: Stop,
        in_bulk: bool = False,
    ) -> None:
        self._calls = calls
        self._stop = stop
        self._checkpoints = checkpoints
        self._jobs = jobs
        self._share_id = share_id
        self._stage = stage
        self._clock = clock
        self._next_at = clock.now()
        self._in_bulk = in_bulk

    @property
    def in_bulk(self) -> bool:
        """See `Run.in_bulk`."""
        return self._in_bulk

    async def call(
        self,
        call_no: int,
        answer_type: type[A],
        *,
        model: str,
        hold: MicroUSD,
        do: Callable[[], Awaitable[Paid[A]]],
        local: bool = False,
    ) -> A:
        """See `Run.call`."""
        self._stop.check()

        async def pay() -> Paid[A]:
            with self._stop.paying():
                return await do()

        return await self._calls.call(
            call_no, answer_type, model=model, hold=hold, do=do if local else pay, local=local
        )

    async def progress(self, fraction: float) -> None:
        """See `Run.progress`."""
        now = self._clock.now()
        if now < self._next_at:
            return
        self._next_at = now + SHOWN_EVERY
        await self._jobs.progress(self._share_id, self._stage, min(max(fraction, 0.0), 1.0))

    async def checkpoint(self, state: BaseModel) -> None:
        """See `Run.checkpoint`."""
        await self._checkpoints.keep(state)

    def resume(self, kind: type[A]) -> A | None:
        """See `Run.resume`."""
        return self._checkpoints.last(kind)
