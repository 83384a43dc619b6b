"""Programs that tests start: each dies with its parent, so that none is left over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from millrace.embedded.process import last_lines, launcher_argv
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 60.0


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def begin(
    program: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    own_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program; what it says is added to its log.

    :param environment: added to ours.
    :param death_signal: what it gets when this process, or the thread that started it, ends.
    :param own_session: signals to our terminal or group do not reach it.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            launcher_argv(program, death_signal=death_signal),
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=own_session,
        )


def is_ready(url: str) -> bool:
    """Whether a service says at its ops endpoints that it makes progress."""
    try:
        return httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


class Service:
    """A service as a process of its own, with a port of its own for its ops endpoints or its API."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path, *arguments: str) -> None:
        port = free_port()
        self._program = (sys.executable, "-m", module, *arguments)
        self._environment = {**environment, "MILLRACE_OPS_PORT": str(port), "MILLRACE_HTTP_PORT": str(port)}
        self.log = log
        self.url = f"http://127.0.0.1:{port}"
        """Where its ops endpoints are, and the API of a gateway."""
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return begin(self._program, self.log, self._environment)

    def start_again(self) -> None:
        """Start it at the same address, after it has ended."""
        self.process = self._start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    async def ready(self) -> None:
        """Wait until it is ready."""

        async def look() -> bool:
            assert self.running, "\n".join(last_lines(self.log, 50))
            return await self.answers()

        await eventually(look, f"{self._program[2]} to be ready: see {self.log}", READY_WITHIN_S, every_s=0.1)

    async def answers(self) -> bool:
        """Whether it says now that it is ready."""
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                return (await http.get(f"{self.url}/readyz", timeout=1)).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

    def signal(self, what: signal.Signals) -> None:
        """Send a signal to this process alone."""
        if self.running:
            self.process.send_signal(what)

    async def ended(self, within_s: float = 20.0) -> int:
        """Wait for its end; the exit status."""
        await eventually(lambda: not self.running, "the process to end", within_s)
        return self.process.returncode

    def end(self) -> None:
        """Kill it for good."""
        self.signal(signal.SIGKILL)
        self.process.wait(timeout=10)
