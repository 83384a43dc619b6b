"""Where each stage of each share stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from millrace.contracts.events import StageName, TaskState, TaskStatus
from millrace.ids import WorkKey
from millrace.store import waiting
from millrace.store.database import Connection, Database
from millrace.store.grouped import Grouped
from millrace.store.waiting import Shut, Waiting

_UPSERT = """
INSERT INTO jobs (share_id, stage, account, state, work_key, reason, progress, resume_at, needed_micro_usd,
                  left_micro_usd, cap, attempt, model, cost_micro_usd, published, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (share_id, stage) DO UPDATE
   SET account = excluded.account, state = excluded.state, work_key = coalesce(excluded.work_key, jobs.work_key),
       reason = excluded.reason, progress = excluded.progress, resume_at = excluded.resume_at,
       needed_micro_usd = excluded.needed_micro_usd, left_micro_usd = excluded.left_micro_usd, cap = excluded.cap,
       attempt = excluded.attempt, model = coalesce(excluded.model, jobs.model),
       cost_micro_usd = excluded.cost_micro_usd, published = excluded.published, updated_at = excluded.updated_at,
       cancelled_at = NULL
 WHERE (jobs.cancelled_at IS NULL OR excluded.published OR excluded.state = 'failed')
   AND ((jobs.published AND jobs.work_key = excluded.work_key) IS NOT TRUE OR excluded.published OR $17)
"""
# The conditions: what was cancelled can only turn out to have ended; and a worker that was paused does not make
# unfinished again what another has finished and emitted.
_PUT = f"{_UPSERT}RETURNING share_id AS key"
_GET = """
SELECT share_id AS key, work_key, state, attempt, published, cancelled_at
  FROM jobs WHERE share_id = $1 AND stage = $2
"""
# Once for each round, and for work once for all jobs of a round. Calls that were answered are kept, and never made
# again; one that is under way counts for the new round.
_BEGIN_ANEW = """
WITH work_given AS (
    INSERT INTO fresh_rounds (subject, round) VALUES ($3, $4) ON CONFLICT DO NOTHING RETURNING subject
), forgotten AS (
    UPDATE calls SET counted = false FROM work_given
     WHERE calls.work_key = work_given.subject AND calls.counted
       AND calls.state IN ('denied', 'abandoned', 'released', 'unconfirmed')
), job_given AS (
    INSERT INTO fresh_rounds (subject, round) VALUES ($1 || '|' || $2, $4) ON CONFLICT DO NOTHING RETURNING subject
)
UPDATE jobs SET attempt = 0, state = CASE state WHEN 'failed' THEN 'queued' ELSE state END
  FROM job_given WHERE jobs.share_id = $1 AND jobs.stage = $2
"""


@dataclass(frozen=True)
class JobRow:
    """What is known of a job when a record about it arrives."""

    work_key: WorkKey | None
    state: TaskState
    attempt: int
    published: bool
    cancelled_at: datetime | None = None


def _values(status: TaskStatus, *, published: bool, anew: bool) -> tuple[str, *tuple[object, ...]]:
    return (
        status.share_id,
        status.stage,
        status.account,
        status.state,
        status.work_key,
        status.reason,
        status.progress,
        status.resume_at,
        status.needed_micro_usd,
        status.left_micro_usd,
        status.cap,
        status.attempt,
        status.model,
        status.cost_micro_usd,
        published,
        status.updated_at,
        anew,
    )


class JobStore:
    """Rows of `jobs`."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._get = Grouped(database, _GET)
        self._put = Grouped(database, _PUT)

    async def get(self, share_id: str, stage: StageName) -> JobRow | None:
        """The job of a share's stage, if any."""
        row = await self._get(share_id, stage)
        if row is None:
            return None
        return JobRow(row["work_key"], row["state"], row["attempt"], row["published"], row["cancelled_at"])

    async def put(self, status: TaskStatus, *, published: bool = False, anew: bool = False) -> bool:
        """Write where the job stands; `published` once its event is confirmed.

        :param anew: somebody asked for it again, so it may be unfinished although its event is out.
        :return: False when the job stays as it is: the event of this very work is out already, or the share was
            cancelled.
        """
        share_id, *values = _values(status, published=published, anew=anew)
        return await self._put(share_id, *values) is not None

    async def progress(self, share_id: str, stage: StageName, fraction: float) -> None:
        """Show how far a running job is."""
        await self._db.execute(
            """
            UPDATE jobs SET progress = $3, updated_at = now()
             WHERE share_id = $1 AND stage = $2 AND state = 'running'
            """,
            share_id,
            stage,
            fraction,
        )

    async def begin_anew(self, share_id: str, stage: StageName, key: WorkKey, round_: str) -> None:
        """Give a job and its work a fresh budget of attempts, once for each round, however often it is delivered."""
        await self._db.execute(_BEGIN_ANEW, share_id, stage, key, round_)

    async def remark(self, share_id: str, stage: StageName, reason: str) -> TaskStatus | None:
        """Say something about a running job; where it stands now, or None when it does not run."""
        row = await self._db.fetchrow(
            """
            UPDATE jobs SET reason = $3, updated_at = now()
             WHERE share_id = $1 AND stage = $2 AND state = 'running' RETURNING *
            """,
            share_id,
            stage,
            reason,
        )
        return None if row is None else waiting.status_of(row)

    async def fail_unreadable(self, share_id: str, stage: StageName, reason: str) -> None:
        """Mark the job of a message that could not be read, where its key names a share and nothing else has come."""
        await self._db.execute(
            """
            UPDATE jobs SET state = 'failed', reason = $3, updated_at = now()
             WHERE share_id = $1 AND stage = $2 AND work_key IS NULL AND state <> 'cancelled'
            """,
            share_id,
            stage,
            reason,
        )

    async def wait(
        self, status: TaskStatus, message: Waiting, *, shut: Shut | None = None, anew: bool = False
    ) -> list[TaskStatus]:
        """Let a job wait: its state and the message that wakes it, in one transaction. The latest message wins.

        :param shut: closes the message's gate for the jobs behind it, too.
        :param anew: as in `put`; a job that stays as it is waits for nothing.
        :return: what has changed: its own status unless it stays as it is, and those of the jobs behind it.
        """

        async def body(connection: Connection) -> list[TaskStatus]:
            behind = await waiting.shut(connection, message, shut)
            values = _values(status, published=False, anew=anew)
            if await connection.execute(_UPSERT, *values) == "INSERT 0 0":
                return behind
            await waiting.put(connection, message)
            return [status, *behind]

        return await self._db.transaction(body)
