"""Programs that read strangers' files, in child processes that hold nothing worth taking."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a child ended: its status (negative: the signal) and its standard output."""

    status: int
    output: bytes


async def run_sealed(argv: Sequence[str], *, timeout_s: float) -> Ended:
    """Run a program with an empty environment: whoever takes it over finds no key and no password.

    The child is killed when it takes longer, or when the caller is cancelled.

    :raises TimeoutError: it had not ended after `timeout_s`.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode or 0, output)
