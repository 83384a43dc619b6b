"""Programs that read strangers' files, in child processes that hold nothing worth taking."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST_ERRORS: Final = 64 << 10


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
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE if given else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={},
    )
    try:
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
