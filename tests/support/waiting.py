"""Waiting until something holds, in bounded time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


def until(condition: Callable[[], T], what: str, within_s: float = 60.0) -> T:
    """Wait until a condition gives something true, and return that."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s:.0f} s for {what}")
        time.sleep(0.05)
    return found


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], what: str, within_s: float = ..., *, every_s: float = ...
) -> T: ...
@overload
async def eventually(condition: Callable[[], T], what: str, within_s: float = ..., *, every_s: float = ...) -> T: ...
async def eventually(
    condition: Callable[[], Awaitable[T] | T], what: str, within_s: float = 20.0, *, every_s: float = 0.05
) -> T:
    """The same without holding the event loop up; a condition may be asynchronous.

    :param every_s: 0 looks at every turn of the loop.
    """
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = condition()
                if isinstance(found, Awaitable):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(every_s)
    except TimeoutError as late:
        raise TimeoutError(f"waited {within_s:.0f} s for {what}") from late
