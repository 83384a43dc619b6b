"""What the benchmark asks of a system: take shares, let it be paused, say what has come out of the last stage."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from millrace.embedded.process import last_lines
from tests.support.process import begin

STAGES: Final = ("media", "transcribe", "summarize", "embed")
TOPICS: Final = ("share.created", "media.ready", "transcript.ready", "summary.ready", "embedding.ready")
PARTITIONS: Final = 4
FINISH_WITHIN_S: Final = 180.0
STOP_WITHIN_S: Final = 30.0


class BenchError(Exception):
    """The benchmark cannot go on; the text is one sentence that says why and what to do."""


class NotInstalled(BenchError):
    """Something that a peer needs is missing."""


class Broken(BenchError):
    """A share was lost or finished twice, or its books are wrong: a rate would mean nothing."""


def new_ids(count: int) -> list[str]:
    """Ids of shares that nobody has seen before."""
    return [str(uuid.uuid4()) for _ in range(count)]


class Finishes:
    """When each share came out of the last stage, in seconds of `time.perf_counter`; any thread may tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: dict[str, float] = {}
        self._times: Counter[str] = Counter()

    def tell(self, share: str, at: float) -> None:
        """A share is finished; the first time counts, every further one is a fault that `check` finds."""
        with self._lock:
            self._at.setdefault(share, at)
            self._times[share] += 1

    def of(self, shares: Sequence[str]) -> list[float]:
        """When these were finished, as far as they are."""
        with self._lock:
            return [self._at[share] for share in shares if share in self._at]

    async def wait(self, shares: Sequence[str], alive: Callable[[], None]) -> list[float]:
        """Wait until all of these are finished.

        :param alive: raises when a process of the system has ended.
        :raises Broken: some were not in time.
        """
        deadline = time.monotonic() + FINISH_WITHIN_S
        while len(found := self.of(shares)) < len(shares):
            alive()
            if time.monotonic() > deadline:
                lost = len(shares) - len(found)
                raise Broken(f"{lost} of {len(shares)} shares did not finish within {FINISH_WITHIN_S:.0f} s")
            await asyncio.sleep(0.05)
        return found

    def check(self, shares: Sequence[str]) -> None:
        """:raises Broken: one is missing, came twice, or was never shared."""
        with self._lock:
            times = Counter(self._times)
        twice = sum(count > 1 for count in times.values())
        missing, strange = len(set(shares) - set(times)), len(set(times) - set(shares))
        if twice or missing or strange:
            raise Broken(f"{missing} shares were lost, {twice} finished twice, {strange} were never shared")


class Process:
    """A program of a system. It dies with this process, in a session of its own."""

    def __init__(self, name: str, program: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self.log = log
        environment = {"PYTHONPATH": _python_path(), **(env or {})}
        self._process = begin(program, log, environment, death_signal=signal.SIGTERM, own_session=True)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def alive(self) -> None:
        """:raises Broken: it has ended, with the end of its log."""
        if (code := self._process.poll()) is not None:
            raise Broken(f"{self.name} ended with {code}:\n" + "\n".join(last_lines(self.log)))

    def signal(self, what: signal.Signals) -> None:
        """To the program and its children."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, what)

    def stop(self) -> None:
        """Ask it to end; kill it when it does not."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _python_path() -> str:
    """Programs see what we see, whatever was put on the path by hand."""
    return os.pathsep.join(path for path in sys.path if path)


@contextmanager
def running(*processes: Process) -> Iterator[tuple[Process, ...]]:
    """Stop them at the end, in any case."""
    try:
        yield processes
    finally:
        for process in processes:
            process.stop()


@dataclass
class Chain:
    """A system that runs. `settings` and `versions` are for the report."""

    name: str
    workers: Sequence[Process]
    publish: Callable[[Sequence[str]], Awaitable[None]]
    finishes: Finishes
    settings: dict[str, object]
    versions: dict[str, str]
    parts: dict[str, int]
    """Process ids of the broker and whatever else is not a worker."""
    books: Callable[[Sequence[str]], Awaitable[dict[str, object]]] | None = None
    """Waits until everything about these shares is written down, and raises `Broken` where it is wrong."""
    counted: Callable[[], Awaitable[dict[str, float]]] | None = None
    """What it has asked of its database and broker so far."""
    shared: list[str] = field(default_factory=list)

    @property
    def pids(self) -> dict[str, int]:
        """All processes by name."""
        return {**{worker.name: worker.pid for worker in self.workers}, **self.parts}

    def alive(self) -> None:
        """:raises Broken: a worker has ended."""
        for worker in self.workers:
            worker.alive()

    async def share(self, shares: Sequence[str]) -> None:
        """Publish, and remember what must come out."""
        self.shared += shares
        await self.publish(shares)

    async def finished(self, shares: Sequence[str]) -> list[float]:
        """Wait for these."""
        return await self.finishes.wait(shares, self.alive)

    def pause(self) -> None:
        """All workers stand still, so that a backlog can build up."""
        for worker in self.workers:
            worker.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """They go on."""
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
