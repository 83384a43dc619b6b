"""Where each stage of each share stands."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from millrace.contracts.events import StageName, TaskStatus
from millrace.ids import RequestId, WorkKey
from millrace.store import waiting
from millrace.store.ask import ASKED_BY_NOBODY, Ask, JobRow
from millrace.store.database import Connection, Database, rows_changed
from millrace.store.grouped import Grouped
from millrace.store.turns import NOT_WAITED, Turn
from millrace.store.waiting import Shut, Waiting

_UPSERT = """
INSERT INTO jobs (share_id, stage, account, state, work_key, reason, progress, resume_at, needed_micro_usd,
                  left_micro_usd, cap, attempt, model, cost_micro_usd, published, updated_at, asked_at, waited_at,
                  told_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $18, $19, $20)
ON CONFLICT (share_id, stage) DO UPDATE
   SET account = excluded.account, state = excluded.state, work_key = coalesce(excluded.work_key, jobs.work_key),
       reason = excluded.reason, progress = excluded.progress, resume_at = excluded.resume_at,
       needed_micro_usd = excluded.needed_micro_usd, left_micro_usd = excluded.left_micro_usd, cap = excluded.cap,
       attempt = excluded.attempt, model = coalesce(excluded.model, jobs.model),
       cost_micro_usd = excluded.cost_micro_usd, published = excluded.published, updated_at = excluded.updated_at,
       cancelled_at = NULL, asked_at = coalesce(excluded.asked_at, jobs.asked_at),
       waited_at = CASE WHEN excluded.asked_at IS NULL THEN jobs.waited_at ELSE excluded.waited_at END,
       told_at = CASE WHEN excluded.published THEN excluded.told_at
                      WHEN jobs.work_key = excluded.work_key THEN jobs.told_at END
 WHERE (jobs.cancelled_at IS NULL OR excluded.published OR excluded.state = 'failed')
   AND ((jobs.asked_at, jobs.waited_at) > (excluded.asked_at, excluded.waited_at)) IS NOT TRUE
   AND ((jobs.published AND jobs.work_key = excluded.work_key) IS NOT TRUE OR excluded.published
        OR ($17 AND ((jobs.asked_at, jobs.waited_at) = (excluded.asked_at, excluded.waited_at)) IS NOT TRUE))
"""
# The conditions: what was cancelled can only turn out to have ended; a record whose turn is over changes nothing; and
# a worker that was paused does not make unfinished again what another has finished and emitted.
_PUT = f"{_UPSERT}RETURNING share_id AS key"
_SETTLED = """
WITH settled AS (
    UPDATE calls SET told_ledger = true, settled_at = now(), state = 'settled'
     WHERE request_id = ANY($21) AND state = 'answered'
)
"""
_PUBLISH = _SETTLED + _PUT
_GET = """
SELECT share_id AS key, work_key, state, attempt, published, cancelled_at, asked_at, waited_at, told_at
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


def _values(status: TaskStatus, ask: Ask, told_at: datetime | None = None) -> tuple[str, *tuple[object, ...]]:
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
        told_at is not None,
        status.updated_at,
        ask.anew,
        ask.turn and ask.turn.asked_at,
        ask.turn.waited_at if ask.turn else NOT_WAITED,
        told_at,
    )


class JobStore:
    """Rows of `jobs`."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._get = Grouped(database, _GET)
        self._put = Grouped(database, _PUT)
        self._publish = Grouped(database, _PUBLISH)

    async def get(self, share_id: str, stage: StageName) -> JobRow | None:
        """The job of a share's stage, if any."""
        row = await self._get(share_id, stage)
        if row is None:
            return None
        turn = None if row["asked_at"] is None else Turn(row["asked_at"], row["waited_at"])
        return JobRow(
            row["work_key"],
            row["state"],
            row["attempt"],
            row["published"],
            row["cancelled_at"],
            turn,
            row["told_at"],
        )

    async def put(self, status: TaskStatus, ask: Ask = ASKED_BY_NOBODY) -> bool:
        """Write where the job stands.

        :param ask: what the record asks that brought the job there. Asked for anew, it may be unfinished although its
            event is out.
        :return: False when a later record has its turn, or the event of this very work is out already, or the
            share was cancelled: the job stays as it is.
        """
        share_id, *values = _values(status, ask)
        return await self._put(share_id, *values) is not None

    async def publish(self, status: TaskStatus, ask: Ask, *, told_at: datetime, settled: Sequence[RequestId]) -> bool:
        """Write that the job has ended and its event is confirmed.

        :param told_at: the time of the event.
        :param settled: answered calls that the ledger has been told of.
        :return: as in `put`.
        """
        share_id, *values = _values(status, ask, told_at)
        return await self._publish(share_id, *values, settled) is not None

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

    async def fail_unreadable(self, share_id: str, stage: StageName, reason: str) -> TaskStatus | None:
        """Mark the job of a message that could not be read, where its key names a share and nothing else has come.

        :return: where the job stands, if there is one.
        """
        row = await self._db.fetchrow(
            """
            UPDATE jobs SET state = 'failed', reason = $3, updated_at = now()
             WHERE share_id = $1 AND stage = $2 AND work_key IS NULL AND state <> 'cancelled' RETURNING *
            """,
            share_id,
            stage,
            reason,
        )
        return None if row is None else waiting.status_of(row)

    async def wait(
        self, status: TaskStatus, message: Waiting, ask: Ask = ASKED_BY_NOBODY, *, shut: Shut | None = None
    ) -> list[TaskStatus]:
        """Let a job wait: its state and the message that wakes it, in one transaction. The latest message wins.

        :param shut: closes the message's gate for the jobs behind it, too.
        :param ask: as in `put`, with the turn of the message; a job that stays as it is waits for nothing.
        :return: what has changed: its own status unless it stays as it is, and those of the jobs behind it.
        """

        async def body(connection: Connection) -> list[TaskStatus]:
            behind = await waiting.shut(connection, message, shut)
            values = _values(status, ask)
            if rows_changed(await connection.execute(_UPSERT, *values)) == 0:
                return behind
            await waiting.put(connection, message)
            return [status, *behind]

        return await self._db.transaction(body)
