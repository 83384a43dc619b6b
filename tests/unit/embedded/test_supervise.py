"""When and how often a part that ended is started again."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from millrace.embedded.errors import StartFailed
from millrace.embedded.process import Command
from millrace.embedded.supervise import Supervised, all_or_none, crashes_in_a_row, restart_delay_s


def command(tmp_path: Path, source: str, *, stop_within_s: float = 5.0) -> Command:
    return Command(
        name="part",
        argv=(sys.executable, "-c", source),
        environment={"MARK": "from the environment"},
        log=tmp_path / "part.log",
        stop_within_s=stop_within_s,
    )


def test_the_delay_doubles_from_half_a_second_and_ends_at_thirty() -> None:
    delays = [restart_delay_s(crashes) for crashes in range(1, 10)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert restart_delay_s(10_000) == 30


def test_a_part_that_ran_for_a_minute_starts_counting_anew() -> None:
    assert crashes_in_a_row(5, ran_s=59.9) == 6
    assert crashes_in_a_row(5, ran_s=60.0) == 1


async def test_a_killed_part_is_started_again_as_another_process(tmp_path: Path) -> None:
    lines: list[str] = []
    restarts: list[int | None] = []
    again = asyncio.Event()

    def report(line: str) -> None:
        lines.append(line)
        if line == "part is ready again":
            again.set()

    async def ready() -> bool:
        return True

    part = Supervised(
        command(tmp_path, "import time; time.sleep(60)"),
        ready,
        ready_within_s=5,
        report=report,
        restarted=lambda: restarts.append(part.pid),
    )
    await part.start()
    first = part.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(10):
        await again.wait()
    assert lines[0] == "part ended with signal 9; starting it again in 0.5 s"
    assert restarts == [part.pid]
    assert part.pid != first
    await part.stop()
    assert part.pid is None


async def test_a_part_that_crashes_again_and_again_says_why_each_time(tmp_path: Path) -> None:
    lines: list[str] = []
    twice = asyncio.Event()
    once = tmp_path / "ran"

    def report(line: str) -> None:
        lines.append(line)
        if len(lines) == 4:
            twice.set()

    async def ready() -> bool:
        return not once.exists()

    source = (
        f"import pathlib, sys, time; ran = pathlib.Path({str(once)!r})\n"
        "if ran.exists(): sys.exit('the disk is full')\n"
        "time.sleep(60)"
    )
    part = Supervised(command(tmp_path, source), ready, ready_within_s=10, report=report)
    await part.start()
    assert part.pid is not None
    once.touch()
    os.kill(part.pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        await twice.wait()
    await part.stop()
    assert lines[0] == "part ended with signal 9; starting it again in 0.5 s"
    assert lines[1].endswith("part.log. Its last line: the disk is full")
    assert lines[2] == "part ended with exit code 1; starting it again in 1.0 s"
    assert lines[3] == lines[1]


async def test_a_full_disk_does_not_end_the_supervision(tmp_path: Path) -> None:
    lines: list[str] = []
    refused, again = asyncio.Event(), asyncio.Event()

    def report(line: str) -> None:
        lines.append(line)
        if "cannot be started" in line:
            refused.set()
        if line == "part is ready again":
            again.set()

    async def ready() -> bool:
        return True

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    part_command = command(tmp_path / "data", "import time; time.sleep(60)")
    part = Supervised(part_command, ready, ready_within_s=5, report=report, restarted=full)
    await part.start()
    assert part.pid is not None
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data").write_text("where the log's folder was: it cannot be opened")
    os.kill(part.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        await refused.wait()
        (tmp_path / "data").unlink()
        await again.wait()
    assert "part cannot be started (File exists); trying again in 0.5 s" in lines
    assert "the ready file still has the former process of part (No space left on device)" in lines
    await part.stop()


async def test_a_part_that_ends_at_once_fails_with_the_last_lines_of_its_log(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    source = "import os, sys; sys.exit(f'no luck {os.environ[\"MARK\"]}')"
    part = Supervised(command(tmp_path, source), never, ready_within_s=20, report=lambda _: None)
    with pytest.raises(
        StartFailed, match=r"part ended with exit code 1 before it was ready: see .*part\.log"
    ) as caught:
        await part.start()
    assert caught.value.log_tail == ("no luck from the environment",)


async def test_a_part_that_never_gets_ready_is_not_left_running(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    async def never() -> bool:
        return False

    source = f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(60)"
    part = Supervised(command(tmp_path, source), never, ready_within_s=1, report=lambda _: None)
    with pytest.raises(StartFailed, match="was not ready within 1 s"):
        await part.start()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


async def test_a_part_that_ignores_the_request_to_stop_is_killed_in_bounded_time(tmp_path: Path) -> None:
    source = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
    )
    part_command = command(tmp_path, source, stop_within_s=0.2)

    async def on() -> bool:
        return "on" in part_command.log.read_text()

    part = Supervised(part_command, on, ready_within_s=10, report=lambda _: None)
    await part.start()
    async with asyncio.timeout(5):
        await part.stop()
    assert part.pid is None


async def test_the_first_failure_ends_the_others_before_it_is_raised() -> None:
    ended: list[str] = []

    async def fails() -> None:
        await asyncio.sleep(0)
        raise StartFailed("no")

    async def waits() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("waits")

    with pytest.raises(StartFailed):
        await all_or_none([waits(), fails()])
    assert ended == ["waits"]
