"""Children die with the process that started them, even by kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_PARENT = """
import asyncio, sys
from pathlib import Path
from millrace.embedded.process import Child, Command

async def main():
    folder = Path(sys.argv[1])
    sleeper = "import os, time; print(os.getpid(), flush=True); time.sleep(120)"
    child = await Child.start(
        Command("sleeper", (sys.executable, "-c", sleeper), {}, folder / "sleeper.log"),
        kernel_watches=sys.argv[2] == "kernel",
    )
    if sys.argv[3] == "ends":
        await child.stop()
        print("ended", child.pid, flush=True)
    await asyncio.sleep(120)

asyncio.run(main())
"""


def until_file_says(path: Path, within_s: float = 20.0) -> str:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().strip():
            return path.read_text().strip()
        time.sleep(0.02)
    pytest.fail(f"{path.name} stayed empty")


def gone(pid: int, ask: Callable[[int, int], None] = os.kill, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            ask(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("watcher", ["kernel", "pipe"])
def test_a_child_does_not_outlive_a_killed_parent(tmp_path: Path, watcher: str) -> None:
    if watcher == "kernel" and sys.platform != "linux":
        pytest.skip("only Linux kernels do this")
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path), watcher, "stays"])
    child = int(until_file_says(tmp_path / "sleeper.log"))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(child)


def test_a_ctrl_c_in_the_terminal_does_not_reach_children_before_their_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path), "pipe", "stays"], start_new_session=True)
    child = int(until_file_says(tmp_path / "sleeper.log"))
    try:
        assert os.getpgid(child) != os.getpgid(parent.pid)
    finally:
        parent.kill()
        parent.wait()
    assert gone(child)


def test_the_watcher_goes_with_the_child_it_watched_over(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _PARENT, str(tmp_path), "pipe", "ends"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            said, child = parent.stdout.readline().split()
            assert said == "ended"
            assert gone(int(child), ask=os.killpg)
        finally:
            parent.kill()
