"""Jobs that are to begin: the first rows of a share, and those that a person wants once more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from millrace.contracts.events import StageName
from millrace.store.database import Connection

_QUEUE = """
INSERT INTO jobs (share_id, stage, account, state, updated_at, owner, shared_at)
SELECT $1, stage, $2, 'queued', $4, owner, created_at
  FROM unnest($3::text[]) AS stage LEFT JOIN shares ON share_id = $1
"""
_QUEUE_FAILED = """
UPDATE jobs SET state = 'queued', reason = NULL, updated_at = now()
 WHERE share_id = $1 AND stage = $2 AND state = 'failed'
"""
# As `JobStore.begin_anew` does for a stage that gets a command: what was answered is kept, what is under way counts.
_FORGIVE = """
UPDATE calls SET counted = false
 WHERE counted AND state IN ('denied', 'abandoned', 'released', 'unconfirmed')
   AND work_key IN (SELECT work_key FROM jobs WHERE share_id = $1 AND stage = ANY($2::text[])
                       AND state IN ('failed', 'cancelled'))
"""


async def queue(
    connection: Connection, share_id: str, account: str, stages: Sequence[StageName], at: datetime
) -> None:
    """Write down a new share's jobs, in the caller's transaction."""
    await connection.execute(_QUEUE, share_id, account, stages, at)


async def queue_failed(connection: Connection, share_id: str | None, stage: StageName) -> None:
    """Show a job that had failed as queued; any other stays as it is."""
    await connection.execute(_QUEUE_FAILED, share_id, stage)


async def forgive_calls(connection: Connection, share_id: str, stages: Sequence[StageName]) -> None:
    """Give what failed or was cancelled a fresh budget of calls, before it is queued: no command will."""
    await connection.execute(_FORGIVE, share_id, stages)
