"""How far something long is, told to whoever waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from millrace.startup import say

_EVERY_S: Final = 2.0


class ProgressPrinter:
    """Says sentences on standard error, at most one every two seconds; what comes sooner is left out.

    :param name: who says it.
    """

    def __init__(self, name: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._monotonic = monotonic
        self._last = monotonic()

    def __call__(self, sentence: str) -> None:
        now = self._monotonic()
        if now - self._last >= _EVERY_S:
            self._last = now
            say(self._name, sentence)
