"""An embedded stack of a test's own, or of a whole session."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from millrace.embedded.readyfile import Addresses
from tests.support.process import begin
from tests.support.waiting import until

_READY_WITHIN_S = 240  # the first run on a machine downloads 180 MiB


@contextmanager
def own_stack(folder: Path) -> Iterator[Addresses]:
    """A process of its own: it needs a main thread, and to survive whatever a test does to the event loop."""
    ready_file = folder / "ready.json"
    log = folder / "stack.log"
    program = (sys.executable, "-m", "millrace.embedded", "--data", str(folder), "--ready-file", str(ready_file))
    process = begin(program, log, death_signal=signal.SIGTERM, own_session=True)

    def ready() -> bool:
        if process.poll() is not None:
            pytest.fail(f"The embedded stack did not start:\n{log.read_text()}", pytrace=False)
        return ready_file.exists()

    try:
        until(ready, f"the embedded stack: see {log}", _READY_WITHIN_S)
        found = json.loads(ready_file.read_text(encoding="utf-8"))
        yield Addresses(found["kafka"], found["registry"], found["postgres"])
    finally:
        process.terminate()
        process.wait(timeout=60)
