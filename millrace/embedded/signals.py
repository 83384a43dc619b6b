"""End a program's work at SIGINT or SIGTERM, at any moment, in one order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine

_STOP = (signal.SIGINT, signal.SIGTERM)


async def until_signal(work: Coroutine[None, None, None]) -> bool:
    """Run `work` and cancel it at the first SIGINT or SIGTERM; its `finally` blocks then do the stopping.

    Further signals change nothing: stopping takes bounded time, and cutting it short is what kill -9 is for.

    :return: True when a signal ended it, False when it ended by itself.
    :raises Exception: whatever `work` raises.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    signalled = False

    def stop() -> None:
        nonlocal signalled
        if not signalled:
            signalled = True
            task.cancel()

    for number in _STOP:
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not signalled:
            raise
    finally:
        for number in _STOP:
            loop.remove_signal_handler(number)
    return signalled
