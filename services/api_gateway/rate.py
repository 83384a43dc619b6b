"""How many requests one person or program may send, counted in each gateway by itself."""

from __future__ import annotations

import math
import time
from typing import Final

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter

from services.api_gateway.errors import TooMany

_LEAST_S: Final = 1


def readable(text: str) -> str:
    """A limit as people write it: 100/second, 3000 per 5 minutes.

    :raises ValueError: it is none.
    """
    try:
        parse(text)
    except ValueError:  # which repeats what was said
        raise ValueError("it is no limit such as 100/second or 3000/minute") from None
    return text


class RateLimit:
    """Counts in windows of the limit's own length."""

    def __init__(self, limit: str) -> None:
        self._limit: RateLimitItem = parse(limit)
        self._windows = FixedWindowRateLimiter(MemoryStorage())

    async def count(self, owner: str) -> None:
        """One more request.

        :raises TooMany: the window is full.
        """
        if await self._windows.hit(self._limit, owner):
            return
        reset, _ = await self._windows.get_window_stats(self._limit, owner)
        wait = max(_LEAST_S, math.ceil(reset - time.time()))
        raise TooMany(f"You may send {self._limit}; try again in {wait} s.", wait)
