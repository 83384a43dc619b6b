"""Children that read strangers' files, as real processes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from millrace.sealed import run_sealed

pytestmark = pytest.mark.timeout(30)


async def test_the_child_finds_nothing_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-secret")
    program = "import os; print([name for name in os.environ if name != 'LC_CTYPE'])"  # Python sets that one itself
    ended = await run_sealed([sys.executable, "-I", "-c", program], timeout_s=20)
    assert (ended.status, ended.output.strip()) == (0, b"[]")


async def test_its_status_is_told() -> None:
    assert (await run_sealed([sys.executable, "-I", "-c", "raise SystemExit(3)"], timeout_s=20)).status == 3


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_child_that_hangs_is_killed(tmp_path: Path, cancelled: bool) -> None:
    pid_file = tmp_path / "pid"
    program = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    task = asyncio.create_task(run_sealed([sys.executable, "-I", "-c", program], timeout_s=60 if cancelled else 1))
    while not (pid_file.exists() and pid_file.read_text()):  # noqa: ASYNC110 - a file is all that tells
        await asyncio.sleep(0.01)
    if cancelled:
        task.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else TimeoutError):
        await task
    assert not psutil.pid_exists(int(pid_file.read_text()))
