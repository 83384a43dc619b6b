"""One process at a time: advisory locks on files, which the kernel drops with the last process that holds them."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from millrace.embedded.errors import FolderInUse

_CHILDREN_GONE_WITHIN_S = 15.0


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class FolderLock:
    """The right to work on a data folder.

    The descriptor is handed to the stack's children, so that after a kill -9 of the owner the folder stays taken
    until its last child is gone, and no longer: a lock file that was left behind is no obstacle.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """What children inherit. Only while it is held."""
        if self._descriptor is None:
            raise RuntimeError("the data folder's lock is not held")
        return self._descriptor

    async def acquire(self) -> None:
        """Take the folder; waits only for the children of an owner that died.

        :raises FolderInUse: another process has it.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            await self._wait_for(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    async def _wait_for(self, descriptor: int) -> None:
        deadline = asyncio.get_running_loop().time() + _CHILDREN_GONE_WITHIN_S
        while not _try_lock(descriptor):
            owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            if not owner.isdigit() or _alive(int(owner)) or asyncio.get_running_loop().time() > deadline:
                who = f"process {owner}" if owner.isdigit() else "another process"
                raise FolderInUse(
                    f"The data folder {self._path.parent} is in use by {who}: stop it, or choose another with --data."
                )
            await asyncio.sleep(0.1)

    def release(self) -> None:
        """Let the folder go."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a file's lock, waiting for it as long as it takes."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
