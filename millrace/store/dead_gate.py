"""The gate in front of a stage's whole intake, in the table `gates`: closed for all its workers, over restarts."""

from __future__ import annotations

from datetime import timedelta

from millrace.contracts.dead import DEAD_GATE
from millrace.contracts.events import StageName
from millrace.store.database import Database
from millrace.store.waiting import ASK_AGAIN

_CLOSE = """
INSERT INTO gates (stage, name, until, allowed, closings) VALUES ($1, $2, now() + $3, 1, 1)
ON CONFLICT (stage, name) DO UPDATE
   SET until = excluded.until, allowed = 1, under_way = 0, closings = gates.closings + 1, moved_at = now()
"""
_PROBE = """
UPDATE gates SET under_way = 1, moved_at = now()
 WHERE stage = $1 AND name = $2 AND until <= now() AND (under_way = 0 OR moved_at < now() - $3::interval)
"""
_UNUSED = "UPDATE gates SET under_way = 0 WHERE stage = $1 AND name = $2"


class DeadGateStore:
    """One stage's gate; `WaitingStore.passed` opens it."""

    def __init__(self, database: Database, stage: StageName) -> None:
        self._db = database
        self._stage = stage

    async def close(self, pause: timedelta) -> None:
        """Let nothing through for so long, and then one job."""
        await self._db.execute(_CLOSE, self._stage, DEAD_GATE, pause)

    async def probe(self) -> bool:
        """Take the place of the one job that may try; another is given when nothing was heard of it for a while."""
        return await self._db.execute(_PROBE, self._stage, DEAD_GATE, ASK_AGAIN) == 1

    async def unused(self) -> None:
        """The one job had nothing to try: let another one."""
        await self._db.execute(_UNUSED, self._stage, DEAD_GATE)
