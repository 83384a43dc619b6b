"""The whole of Millrace, started by its own command: how tests start it, look into it and hurt it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from millrace.cli.client import Client
from millrace.contracts.share_api import ShareView
from tests.support.database import rows
from tests.support.process import begin, is_ready
from tests.support.waiting import until


@dataclass(frozen=True)
class Part:
    """A process of the stack."""

    pid: int
    ops: str


class Running:
    """A started `millrace up`."""

    def __init__(self, ready_file: Path, process: subprocess.Popen[bytes], log: Path, took_s: float) -> None:
        self.ready_file = ready_file
        self.process = process
        self.log = log
        self.took_s = took_s

    @property
    def addresses(self) -> dict[str, str]:
        """Addresses as the ready file has them."""
        document: dict[str, str] = json.loads(self.ready_file.read_text())
        return document

    def client(self) -> Client:
        """Of its gateway, signed in as its admin; to be used as a context."""
        return Client(self.addresses["gateway"], token=self.addresses["token"])

    def part(self, name: str) -> Part:
        """The present process of a part; it has a new pid after a restart."""
        found = json.loads(self.ready_file.read_text())["pids"][name]
        return Part(found["pid"], found["ops"])

    def kill(self, name: str) -> int:
        """kill -9 a service; the supervisor starts it again. Returns the pid that is gone."""
        pid = self.part(name).pid
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_restarted(self, name: str, old_pid: int) -> None:
        """Wait until the service runs again and says that it makes progress."""
        until(lambda: self.part(name).pid != old_pid and is_ready(self.part(name).ops), f"{name} to be back", 60)

    def sql(self, query: str, *args: object) -> list[dict[str, object]]:
        """Rows of the database."""
        return rows(self.addresses["postgres"], query, *args)


@contextmanager
def millrace_up(folder: Path, environment: dict[str, str]) -> Iterator[Running]:
    """`millrace up` in a folder, stopped by SIGTERM."""
    ready_file, log = folder / "ready.json", folder / "up.log"
    argv = [
        sys.executable,
        "-m",
        "millrace.cli.main",
        "up",
        "--data",
        str(folder / "data"),
        "--ready-file",
        str(ready_file),
    ]
    began = time.monotonic()
    process = begin(argv, log, environment, death_signal=signal.SIGTERM)
    try:
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() - began > 300:
                pytest.fail(f"millrace up did not become ready:\n{log.read_text()}", pytrace=False)
            time.sleep(0.05)
        yield Running(ready_file, process, log, time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            pytest.fail(f"millrace up did not stop:\n{log.read_text()[-3000:]}", pytrace=False)


def stage(view: ShareView, name: str) -> str:
    """State of a stage."""
    return next(s.state for s in view.stages if s.stage == name)


def busy(children: list[psutil.Process]) -> psutil.Process:
    """Which of the models is at work now."""
    before = {child.pid: child.cpu_times().user for child in children}

    def working() -> list[psutil.Process]:
        return [child for child in children if child.cpu_times().user > before[child.pid] + 0.2]

    until(lambda: bool(working()), "a model to be at work", 10)
    return working()[0]
