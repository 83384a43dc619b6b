"""When uploads leave S3 alone after it has failed: the first that fails says so, and one tries after each pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 60.0


class Breaker:
    """Opens at the first failure: the client has tried a few times by then. The pause doubles with each in a row."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._until = 0.0

    def lets_through(self) -> bool:
        """Whether to try; of those that ask after a pause the first alone."""
        if self._failures == 0:
            return True
        now = self._monotonic()
        if now < self._until:
            return False
        self._until = now + self._pause()  # who tries now may never come back
        return True

    def succeeded(self) -> None:
        """S3 works."""
        self._failures = 0

    def failed(self) -> None:
        """S3 did not work."""
        self._failures += 1
        self._until = self._monotonic() + self._pause()

    def undecided(self) -> None:
        """Whoever was let through has found out nothing about S3: the next one may try."""
        if self._failures:
            self._until = self._monotonic()

    def _pause(self) -> float:
        return min(FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE_S)
