"""One embedded stack for the whole session, started when the first test asks for it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from millrace.embedded.process import launcher_argv
from millrace.embedded.readyfile import Addresses

# Machines are shared: how long an example takes says nothing about the code. pytest-timeout ends what hangs.
settings.register_profile("millrace", deadline=None)
settings.load_profile("millrace")

_READY_WITHIN_S = 240  # the first run on a machine downloads 180 MiB


def _existing() -> Addresses | None:
    """A stack that the developer keeps running, named by MILLRACE_TEST_KAFKA, …_REGISTRY and …_POSTGRES."""
    values = [os.environ.get(f"MILLRACE_TEST_{name}", "") for name in ("KAFKA", "REGISTRY", "POSTGRES")]
    return Addresses(*values) if all(values) else None


@contextmanager
def own_stack(folder: Path) -> Iterator[Addresses]:
    """A process of its own: it needs a main thread, and to survive whatever a test does to the event loop."""
    ready_file = folder / "ready.json"
    log = folder / "stack.log"
    program = (sys.executable, "-m", "millrace.embedded", "--data", str(folder), "--ready-file", str(ready_file))
    with log.open("wb") as output:
        process = subprocess.Popen(
            launcher_argv(program, death_signal=signal.SIGTERM),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"The embedded stack did not start:\n{log.read_text()}", pytrace=False)
            time.sleep(0.05)
        ready = json.loads(ready_file.read_text(encoding="utf-8"))
        yield Addresses(ready["kafka"], ready["registry"], ready["postgres"])
    finally:
        process.terminate()
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def stack() -> Iterator[Addresses]:
    """Addresses of a real Kafka, schema registry and PostgreSQL; shared, so tests use names of their own."""
    existing = _existing()
    if existing is not None:
        yield existing
        return
    folder = Path(tempfile.mkdtemp(prefix="millrace-test-"))
    try:
        with own_stack(folder) as addresses:
            yield addresses
    finally:
        shutil.rmtree(folder)
