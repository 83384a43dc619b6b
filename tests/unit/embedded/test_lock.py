"""One process at a time on a data folder."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from millrace.embedded.errors import FolderInUse
from millrace.embedded.lock import FolderLock


async def test_a_second_owner_is_refused_with_the_first_ones_process_id(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "lock"), FolderLock(tmp_path / "lock")
    await first.acquire()
    with pytest.raises(
        FolderInUse, match=rf"in use by process {os.getpid()}: stop it, or choose another with --data"
    ):
        await second.acquire()
    first.release()
    await second.acquire()
    second.release()


async def test_a_lock_file_left_by_a_killed_owner_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("999999")
    lock = FolderLock(tmp_path / "lock")
    await lock.acquire()
    lock.release()


async def test_the_folder_stays_taken_until_the_last_child_of_a_dead_owner_is_gone(tmp_path: Path) -> None:
    owner = FolderLock(tmp_path / "lock")
    await owner.acquire()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE, pass_fds=(owner.descriptor,)
    )
    owner.release()
    (tmp_path / "lock").write_text("999999")  # no such process: the owner died
    successor = FolderLock(tmp_path / "lock")
    waiting = asyncio.create_task(successor.acquire())
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await child.communicate(b"\n")
    async with asyncio.timeout(5):
        await waiting
    successor.release()
