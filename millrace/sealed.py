"""Programs that read strangers' files, in child processes that hold nothing worth taking."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millrace.errors import Unavailable

_MOST_ERRORS: Final = 64 << 10
_MOST_MEMORY: Final = 4 << 30
"""Address space of a child: many times what decoding takes, and too little to drive others out."""


@dataclass(frozen=True)
class Ended:
    """How a child ended: its status (negative: the signal), its standard output, and the end of its standard error.

    What stands there is as hostile as the file: never shown to anybody.
    """

    status: int
    output: bytes
    errors: bytes


async def run_sealed(argv: Sequence[str], *, timeout_s: float, given: bytes = b"") -> Ended:
    """Run a program with an empty environment: whoever takes it over finds no key and no password.

    The child is killed when it takes longer, or when the caller is cancelled.

    :param given: its standard input.
    :raises TimeoutError: it had not ended after `timeout_s`.
    :raises Unavailable: this machine cannot start a process at present.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={},
        )
    except OSError as exc:
        raise Unavailable(f"this machine cannot start another process: {exc.strerror or exc}") from exc
    try:
        _limit_memory(process.pid)
        async with asyncio.timeout(timeout_s):
            _, output, errors = await asyncio.gather(
                _give(process.stdin, given), _all(process.stdout), _end_of(process.stderr)
            )
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode or 0, output, errors)


def _limit_memory(pid: int) -> None:
    if sys.platform == "linux":  # elsewhere nobody can do it for another process
        # It has ended already; or a sandbox forbids this, and its limit on all of us has to do.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


async def _give(pipe: asyncio.StreamWriter | None, given: bytes) -> None:
    if pipe is None:
        return
    with contextlib.suppress(ConnectionError):  # it has ended before it read all: its status says why
        pipe.write(given)
        await pipe.drain()
    pipe.close()


async def _all(pipe: asyncio.StreamReader | None) -> bytes:
    return b"" if pipe is None else await pipe.read()


async def _end_of(pipe: asyncio.StreamReader | None) -> bytes:
    # A file can make a program complain without end, which must not fill our memory.
    kept = b""
    while pipe is not None and (read := await pipe.read(_MOST_ERRORS)):
        kept = (kept + read)[-_MOST_ERRORS:]
    return kept


LONGEST_LINE = 4 << 20
"""Bytes of one line that a sealed child may say."""


class SealedChild:
    """A child to talk with, line by line; `sealed_child` starts and ends it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ended = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def say(self, line: bytes) -> None:
        """Write a line to its standard input; one that has ended is told nothing."""
        if self._process.stdin is None:
            raise RuntimeError("the child was started without a pipe")
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(line + b"\n")
            await self._process.stdin.drain()

    async def hear(self) -> bytes | None:
        """The next line of its standard output; None when it says nothing more.

        :raises ValueError: the line is longer than `LONGEST_LINE`.
        """
        if self._process.stdout is None:
            raise RuntimeError("the child was started without a pipe")
        return await self._process.stdout.readline() or None

    async def end(self) -> None:
        """Kill it, and what it has started: its whole group, also when it has ended itself already."""
        if self._ended:  # its number may be somebody else's by now
            return
        self._ended = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        # Not cut off: a child that is not waited for stays in the table of processes.
        await asyncio.shield(self._process.wait())


@asynccontextmanager
async def sealed_child(argv: Sequence[str], *, folder: Path) -> AsyncIterator[SealedChild]:
    """Run a program with no environment but a home, in a session of its own; all of it is killed at the end.

    What it must know and others must not is said to it, never given as an argument: those are for all to see.

    :param folder: its home and working folder.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"HOME": str(folder)},
        cwd=folder,
        start_new_session=True,
        limit=LONGEST_LINE,
    )
    child = SealedChild(process)
    try:
        yield child
    finally:
        await child.end()
