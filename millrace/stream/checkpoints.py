"""Checkpoints of one piece of work: read by its next owner, written only by its present one."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from millrace.clock import Clock
from millrace.ids import WorkKey
from millrace.store.work import Mine, WorkStore

A = TypeVar("A", bound=BaseModel)

WRITTEN_EVERY: Final = timedelta(seconds=5)
"""So much work is lost at most when the process dies."""


class Checkpoints:
    """Keeps the latest state of the work under a lease."""

    def __init__(self, work: WorkStore, key: WorkKey, mine: Mine, clock: Clock) -> None:
        self._work = work
        self._key = key
        self._mine = mine
        self._clock = clock
        self._next_at = clock.now()
        self._unwritten: BaseModel | None = None

    def last(self, kind: type[A]) -> A | None:
        """See `Run.resume`."""
        if self._mine.checkpoint is None:
            return None
        try:
            return kind.model_validate(self._mine.checkpoint)
        except ValidationError:  # of an earlier version
            return None

    async def keep(self, state: BaseModel) -> None:
        """See `Run.checkpoint`."""
        self._unwritten = state
        if self._clock.now() >= self._next_at:
            self._next_at = self._clock.now() + WRITTEN_EVERY
            await self.flush()

    async def flush(self) -> None:
        """Write what was not written yet; nothing is when somebody else has taken over."""
        state, self._unwritten = self._unwritten, None
        if state is not None:
            await self._work.keep(self._key, self._mine.fence, state.model_dump(mode="json"))
