"""A service as a process of its own, tended as a supervisor would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx

from millrace.embedded.process import launcher_argv

ROOT = Path(__file__).parents[2]
STOP_YOURSELF = signal.SIGRTMIN
"""Asks a worker of `ledger_worker.py` to stop where it is worst; Faust takes SIGUSR1 and SIGUSR2 for itself."""


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Worker:
    """A process that is started again whenever it has ended, as a supervisor would."""

    def __init__(self, module: str, env: dict[str, str], log: Path, *arguments: str) -> None:
        self._argv = launcher_argv((sys.executable, "-m", module, *arguments), death_signal=signal.SIGKILL)
        self._env = env
        self._log = log
        self._resume_at: float | None = None
        self._port = free_port()
        self._was_ready = False
        self.exits: Counter[int] = Counter()
        self.ended: dict[int, float] = {}
        """Process ids that are no more, and when that was seen, in seconds since the epoch."""
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as output:
            return subprocess.Popen(
                self._argv,
                cwd=ROOT,
                env={
                    **os.environ,
                    **self._env,
                    "MILLRACE_OPS_PORT": str(self._port),
                    "MILLRACE_HTTP_PORT": str(self._port),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def url(self) -> str:
        """Where its ops endpoints are, and the API of a gateway."""
        return f"http://127.0.0.1:{self._port}"

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
            self.ended[self.process.pid] = time.time()
            self._was_ready = False
            self.process = self._start()

    async def working(self) -> bool:
        """Awake, and ready at least once since its start: only then does hurting it show anything."""
        if self.paused or self.process.poll() is not None:
            return False
        if not self._was_ready:
            async with httpx.AsyncClient(trust_env=False) as http:
                try:
                    answer = await http.get(f"{self.url}/readyz", timeout=1)
                except httpx.HTTPError:
                    return False
            self._was_ready = answer.status_code == httpx.codes.OK
        return self._was_ready

    def wakes(self, now: float) -> bool:
        """Whether its pause is over and `tend` will resume it."""
        return self._resume_at is not None and now >= self._resume_at

    def pause(self, until: float, how: signal.Signals = signal.SIGSTOP) -> None:
        """Stopped until then; `how` may be a signal at which it stops itself."""
        self._resume_at = until
        self.signal(how)

    def signal(self, what: signal.Signals) -> None:
        """Send a signal to this process alone."""
        if self.process.poll() is None:
            self.process.send_signal(what)

    def end(self) -> None:
        """Kill it for good."""
        self.signal(signal.SIGKILL)
        self.process.wait(timeout=10)
