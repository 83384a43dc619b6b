"""One question at a time, however many want the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

T = TypeVar("T")


class OneFlight(Generic[T]):
    """Lets those who ask the same at the same time share one answer.

    A part that hangs is asked once, not once by every probe of /readyz: those would take all connections and threads.
    """

    def __init__(self) -> None:
        self._flight: asyncio.Task[T] | None = None

    async def ask(self, question: Callable[[], Coroutine[None, None, T]], *, within_s: float) -> T:
        """The answer to the question under way, or to this one.

        :raises TimeoutError: there is none yet; the question goes on, and later askers get its answer.
        """
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(question())
            self._flight.add_done_callback(_look)
        # Not wait_for(): a query that is cancelled waits for the database to confirm that, and it may hang.
        done, _ = await asyncio.wait([self._flight], timeout=within_s)
        if not done:
            raise TimeoutError
        return self._flight.result()


def _look(flight: asyncio.Task[T]) -> None:
    """Take note of an error that nobody waits for any more, which asyncio would report as forgotten."""
    if not flight.cancelled():
        flight.exception()
