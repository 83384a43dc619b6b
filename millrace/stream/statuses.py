"""Tells on `task.status` where jobs stand: of one share one thing after another."""

from __future__ import annotations

import asyncio
import logging

from millrace.contracts.events import StageName, TaskStatus
from millrace.stream.writer import Writer

log = logging.getLogger(__name__)


class Statuses:
    """Publishes the states of one worker's jobs."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._showing: dict[str, asyncio.Task[None]] = {}

    def show(self, status: TaskStatus) -> None:
        """Publish that a job runs, while it does: should that fail, its end will still be published."""
        showing = self._showing[status.share_id] = asyncio.create_task(self._writer.status(status))

        def over(task: asyncio.Task[None]) -> None:
            if self._showing.get(status.share_id) is task:
                del self._showing[status.share_id]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("%s %s: not told that it runs: %s", status.stage, status.share_id, error)

        showing.add_done_callback(over)

    async def tell(self, status: TaskStatus) -> None:
        """Publish where a job stands, after everything that was published of it before."""
        await self._shown(status.share_id)
        await self._writer.status(status)

    async def gone(self, share_id: str, stage: StageName) -> None:
        """Publish that a job's share was deleted, after everything that was published of it before."""
        await self._shown(share_id)
        await self._writer.tombstone("task.status", share_id, f"{share_id}|{stage}")

    async def _shown(self, share_id: str) -> None:
        if (showing := self._showing.get(share_id)) is not None:
            await asyncio.wait([showing])
