"""Messages to the ledger that whoever had to send them need not live to see out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final

log = logging.getLogger(__name__)

WAIT_S: Final = 1.0
"""How long the end of a call waits until Kafka has it: while Kafka is away the message goes on in the background."""
CLOSE_WITHIN_S: Final = 5.0


class Telling:
    """Sends in tasks of its own, which no cancellation of a caller reaches; what could not be sent is logged.

    :param wait_s: how long the end of a call waits until Kafka has its message.
    """

    def __init__(self, wait_s: float = WAIT_S) -> None:
        self._wait_s = wait_s
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, message: Coroutine[None, None, None], lost: str) -> asyncio.Task[None]:
        """Begin to send.

        :param lost: what the log says, with the cause, should the message never go out.
        """
        task = asyncio.create_task(message)
        self._tasks.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                log.warning("%s (ended before Kafka had the message)", lost)
            elif (error := task.exception()) is not None:
                log.warning("%s (%s: %s)", lost, type(error).__name__, error)

        task.add_done_callback(over)
        return task

    async def send(self, message: Coroutine[None, None, None], lost: str) -> None:
        """Send; returns when it is out, has failed, or after `wait_s`.

        :raises asyncio.CancelledError: the caller was cancelled meanwhile; the message goes on.
        """
        await asyncio.wait([self.begin(message, lost)], timeout=self._wait_s)

    async def close(self, within_s: float = CLOSE_WITHIN_S) -> None:
        """Wait a while for what is on its way, then give it up."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=within_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
