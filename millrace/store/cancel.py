"""Cancelling a share: what the gateway writes down, and what workers make of it.

queued, waiting, parked ──cancel──▶ cancelled                      at once; what would wake it is removed
running ──cancel──▶ running, with cancelled_at ──▶ cancelled       when its worker has stopped it
                                               ╲──▶ done, failed   when it had ended before
cancelled ──asked for anew──▶ queued, and so are the stages after it
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from millrace.contracts.events import StageName, TaskStatus
from millrace.ids import WorkKey
from millrace.store import waiting
from millrace.store.calls import LEFT_OPEN
from millrace.store.database import Connection, Database
from millrace.store.waiting import Waiting, status_of

# The rule of `millrace.store.waiting`: who changes what waits behind a gate locks its row before anything else.
_LOCK_GATES = """
SELECT FROM gates JOIN waiting ON (gates.stage, gates.name) = (waiting.stage, waiting.gate)
 WHERE waiting.share_id = $1 ORDER BY gates.stage, gates.name FOR UPDATE OF gates
"""
_AT_REST = """
WITH ended AS (
    UPDATE jobs SET state = 'cancelled', cancelled_at = now(), status_due = true, updated_at = now(),
           reason = CASE state WHEN 'queued' THEN 'cancelled before it began' ELSE 'cancelled while it waited' END,
           progress = NULL, resume_at = NULL, needed_micro_usd = NULL, left_micro_usd = NULL, cap = NULL
     WHERE share_id = $1 AND state IN ('queued', 'waiting', 'parked')
    RETURNING share_id, stage
)
DELETE FROM waiting USING ended WHERE (waiting.share_id, waiting.stage) = (ended.share_id, ended.stage)
"""
_RUNNING = """
UPDATE jobs SET cancelled_at = now(), reason = 'is being cancelled', updated_at = now()
 WHERE share_id = $1 AND state = 'running' AND cancelled_at IS NULL
"""
_ASKED = """
SELECT FROM jobs WHERE share_id = $1 AND stage = $2 AND cancelled_at IS NOT NULL
 UNION ALL SELECT FROM deleted_shares WHERE share_id = $1 LIMIT 1
"""
_HAS_OPEN_CALL = f"SELECT FROM calls WHERE work_key = $1 AND share_id = $2 AND {LEFT_OPEN} LIMIT 1"


async def cancel(connection: Connection, share_id: str) -> list[TaskStatus]:
    """Cancel all jobs of a share that have not ended, in the caller's transaction; where each stands then.

    One that is still `running` is being stopped.
    """
    await connection.execute(_LOCK_GATES, share_id)
    await connection.execute(_AT_REST, share_id)
    await connection.execute(_RUNNING, share_id)
    return [status_of(row) for row in await connection.fetch("SELECT * FROM jobs WHERE share_id = $1", share_id)]


@dataclass(frozen=True)
class Due:
    """What a stage's workers have to do: jobs of these shares to stop, and states to tell."""

    stop: list[str]
    tell: list[TaskStatus]


class CancelStore:
    """What has been cancelled in `jobs`, as a stage's workers see it.

    :param later: the stage and those after it, which go on with it when it is asked for anew.
    """

    def __init__(self, database: Database, stage: StageName, later: Sequence[StageName]) -> None:
        self._db = database
        self._stage = stage
        self._later = later

    async def due(self) -> Due:
        """What is to be done; jobs of other workers are among those to stop."""
        rows = await self._db.fetch(
            """
            SELECT * FROM jobs
             WHERE stage = $1 AND (status_due OR (cancelled_at IS NOT NULL AND state = 'running')) LIMIT 1000
            """,
            self._stage,
        )
        return Due(
            stop=[row["share_id"] for row in rows if row["state"] == "running"],
            tell=[status_of(row) for row in rows if row["status_due"]],
        )

    async def told(self, status: TaskStatus) -> None:
        """A state is on task.status; what it has changed to meanwhile is somebody else's to tell."""
        await self._db.execute(
            "UPDATE jobs SET status_due = false WHERE share_id = $1 AND stage = $2", status.share_id, status.stage
        )

    async def asked(self, share_id: str) -> bool:
        """Whether a share's job is cancelled, or is to be, or the share was deleted."""
        return await self._db.fetchrow(_ASKED, share_id, self._stage) is not None

    async def deleted(self, share_id: str) -> bool:
        """Whether a share was deleted."""
        return bool(await self.deleted_among([share_id]))

    async def deleted_among(self, share_ids: Collection[str]) -> list[str]:
        """Which of these shares were deleted."""
        sql = "SELECT share_id FROM deleted_shares WHERE share_id = ANY($1)"
        return [row["share_id"] for row in await self._db.fetch(sql, list(share_ids))]

    async def ended(self, share_id: str) -> TaskStatus | None:
        """The worker has stopped a share's job, which is to be told; None when it has ended otherwise, or was asked
        for anew.
        """
        row = await self._db.fetchrow(
            """
            UPDATE jobs SET state = 'cancelled', reason = 'cancelled while it ran', progress = NULL,
                   status_due = true, updated_at = now()
             WHERE share_id = $1 AND stage = $2 AND cancelled_at IS NOT NULL AND state = 'running' RETURNING *
            """,
            share_id,
            self._stage,
        )
        return None if row is None else status_of(row)

    async def revive(self, share_id: str) -> None:
        """Somebody has asked for the stage anew: it and those after it may go on."""
        await self._db.execute(
            """
            UPDATE jobs SET state = CASE state WHEN 'cancelled' THEN 'queued' ELSE state END,
                   reason = NULL, cancelled_at = NULL, status_due = false, updated_at = now()
             WHERE share_id = $1 AND stage = ANY($2) AND cancelled_at IS NOT NULL
            """,
            share_id,
            self._later,
        )

    async def has_open_call(self, share_id: str, key: WorkKey) -> bool:
        """Whether a call that the share's job has begun has no known end, or the ledger was not told of it."""
        return await self._db.fetchrow(_HAS_OPEN_CALL, key, share_id) is not None

    async def come_back(self, message: Waiting) -> None:
        """Look at a job that is being cancelled again when the message is due."""
        await self._db.transaction(lambda connection: waiting.put(connection, message))
