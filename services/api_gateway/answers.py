"""Answers of searches, kept for a moment. Pure."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from millrace.contracts.search_api import SearchAnswer

MOST_KEPT: Final = 200
"""Answers; one has a hundred hits at most, of half a kilobyte each."""
KEPT_S: Final = 60.0


@dataclass(frozen=True)
class Kept:
    """An answer, and the mark of what there was before it was looked for."""

    answer: SearchAnswer
    mark: str
    until_s: float


class Answers:
    """The last answers, each for a minute; whether they still hold is for the asker to find out.

    :param clock: seconds, which only grow.
    """

    def __init__(self, most: int = MOST_KEPT, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()

    def get(self, key: Hashable) -> Kept | None:
        """What was kept under a key, not older than a minute."""
        kept = self._kept.get(key)
        if kept is None or kept.until_s <= self._clock():
            self._kept.pop(key, None)
            return None
        self._kept.move_to_end(key)
        return kept

    def keep(self, key: Hashable, answer: SearchAnswer, mark: str) -> None:
        """Keep an answer instead of any other under its key; the one that was asked for longest ago makes room."""
        self._kept.pop(key, None)
        self._kept[key] = Kept(answer, mark, self._clock() + KEPT_S)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
