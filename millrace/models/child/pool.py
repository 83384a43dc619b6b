"""A few child processes with the same model; they are replaced when they die, and after so many jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from millrace.errors import ConfigurationError, Poison, Retryable
from millrace.models.child.process import Child, Recipe

log = logging.getLogger(__name__)
A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True)
class Care:
    """How many children there are, after how many questions one is replaced, and how much memory each may have.

    `warm`: the first is started at once, so that a model that cannot be loaded is known at the start.
    """

    children: int = 1
    jobs: int = 50
    memory_mb: int | None = None
    warm: bool = True


async def _ignored(_: bytes) -> None:
    """Nobody asked for what is told meanwhile."""


class ChildPool:
    """Asks whichever child is free. A child works on one question at a time, and is killed with it."""

    def __init__(self, recipe: Recipe, care: Care) -> None:
        self._recipe = recipe
        self._care = care
        self._free = asyncio.Semaphore(care.children)
        self._idle: list[Child] = []
        self._all: set[Child] = set()

    @property
    def pids(self) -> list[int]:
        """The children's process ids."""
        return [child.pid for child in self._all]

    async def ask(
        self,
        question: BaseModel,
        answer_type: type[A],
        *,
        body: bytes = b"",
        told: Callable[[bytes], Awaitable[None]] = _ignored,
        within_s: float | None = None,
    ) -> tuple[A, bytes]:
        """The answer and the bytes that go with it. When this is cancelled, the child that works on it is killed.

        :param told: gets the JSON of what the child tells meanwhile.
        :param within_s: the longest that a child that is ready may take; None: as long as it wants.
        :raises TimeoutError: it took longer, and was killed.
        :raises Retryable: the model failed, or its child died; nothing was paid.
        :raises Poison: the model cannot work on this.
        """
        async with self._free:
            try:
                child = await self._take()
            except ConfigurationError as exc:  # it could be loaded at the start
                raise Retryable(str(exc)) from exc
            kept = False
            try:
                async with asyncio.timeout(within_s):
                    document, more = await child.ask(question.model_dump_json().encode(), body, told)
                answer = answer_type.model_validate_json(document)
                kept = child.asked < self._care.jobs
            except Poison:  # after anything else nobody knows what state the model is in
                kept = child.asked < self._care.jobs
                raise
            finally:
                if kept:
                    self._idle.append(child)
                else:
                    await self._discard(child)
            return answer, more

    async def warm_up(self) -> None:
        """Start a child, so that a model that cannot be loaded is known now.

        :raises ConfigurationError: it cannot.
        :raises Retryable: the child died.
        """
        async with self._free:
            self._idle.append(await self._take())

    async def ready(self) -> None:
        """As `warm_up`, at a start, where there is nobody to try again.

        :raises ConfigurationError: it cannot be loaded.
        """
        try:
            await self.warm_up()
        except Retryable as exc:
            raise ConfigurationError(str(exc)) from exc

    async def close(self) -> None:
        """Kill all children, also those that work."""
        for child in list(self._all):
            await self._discard(child)

    async def _take(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            log.warning("an idle child process of the model %s has died; starting another", self._recipe.name)
            await self._discard(child)
        child = await Child.start(self._recipe, memory_mb=self._care.memory_mb)
        self._all.add(child)
        return child

    async def _discard(self, child: Child) -> None:
        self._all.discard(child)
        await child.end()


@asynccontextmanager
async def open_children(recipe: Recipe, care: Care) -> AsyncIterator[ChildPool]:
    """Children of a model, the first of them started if it shall be.

    :raises ConfigurationError: the model cannot be loaded.
    """
    pool = ChildPool(recipe, care)
    try:
        if care.warm:
            await pool.ready()
        yield pool
    finally:
        await pool.close()
