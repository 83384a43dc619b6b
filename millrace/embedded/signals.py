"""End a program's work at SIGINT, SIGTERM or SIGHUP (its terminal closed), at any moment, in one order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine


def _stop_signals() -> list[signal.Signals]:
    """Under nohup SIGHUP is ignored, and stays so."""
    hangup = [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *hangup]


async def until_signal(work: Coroutine[None, None, None]) -> bool:
    """Run `work` and cancel it at the first of these signals; its `finally` blocks then do the stopping.

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

    numbers = _stop_signals()
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not signalled:
            raise
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
    return signalled
