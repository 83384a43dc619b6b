"""A service that is tended as a supervisor would, and hurt as nobody should."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import Service

STOP_YOURSELF = signal.SIGRTMIN
"""Asks a worker of `ledger_worker.py` to stop where it is worst; Faust takes SIGUSR1 and SIGUSR2 for itself."""


class Worker(Service):
    """A service that is started again whenever it has ended, as a supervisor would."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path, *arguments: str) -> None:
        super().__init__(module, environment, log, *arguments)
        self._resume_at: float | None = None
        self._was_ready = False
        self.exits: Counter[int] = Counter()
        self.ended_at: dict[int, float] = {}
        """Process ids that are no more, and when that was seen, in seconds since the epoch."""

    @property
    def paused(self) -> bool:
        """Stopped by `pause` and not resumed yet."""
        return self._resume_at is not None

    @property
    def stopped(self) -> bool:
        """Whether the kernel says so."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def tend(self, now: float) -> None:
        """Resume it when its pause is over; start it again when it has ended."""
        if self.wakes(now):
            self._resume_at = None
            self.signal(signal.SIGCONT)
        if (status := self.process.poll()) is not None:
            self.exits[status] += 1
            self.ended_at[self.process.pid] = time.time()
            self._was_ready = False
            self.process = self._start()

    async def working(self) -> bool:
        """Awake, and ready at least once since its start: only then does hurting it show anything."""
        if self.paused or not self.running:
            return False
        self._was_ready = self._was_ready or await self.answers()
        return self._was_ready

    def wakes(self, now: float) -> bool:
        """Whether its pause is over and `tend` will resume it."""
        return self._resume_at is not None and now >= self._resume_at

    def pause(self, until: float, how: signal.Signals = signal.SIGSTOP) -> None:
        """Stopped until then; `how` may be a signal at which it stops itself."""
        self._resume_at = until
        self.signal(how)
