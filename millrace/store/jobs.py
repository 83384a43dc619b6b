"""Where each stage of each share stands, and the work that waits for its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from millrace.contracts.events import StageName, TaskState, TaskStatus
from millrace.store.database import Connection, Database, Record

_UPSERT = """
INSERT INTO jobs (share_id, stage, account, state, work_key, reason, progress, resume_at, needed_micro_usd,
                  left_micro_usd, cap, attempt, model, cost_micro_usd, published, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (share_id, stage) DO UPDATE
   SET account = excluded.account, state = excluded.state, work_key = coalesce(excluded.work_key, jobs.work_key),
       reason = excluded.reason, progress = excluded.progress, resume_at = excluded.resume_at,
       needed_micro_usd = excluded.needed_micro_usd, left_micro_usd = excluded.left_micro_usd, cap = excluded.cap,
       attempt = excluded.attempt, model = coalesce(excluded.model, jobs.model),
       cost_micro_usd = excluded.cost_micro_usd, published = excluded.published, updated_at = excluded.updated_at
 WHERE (jobs.published AND jobs.work_key = excluded.work_key) IS NOT TRUE OR excluded.published OR $17
"""
# The condition: a worker that was paused does not make unfinished again what another has finished and emitted.


@dataclass(frozen=True)
class JobRow:
    """What is known of a job when a record about it arrives."""

    work_key: str | None
    state: TaskState
    attempt: int
    published: bool


@dataclass(frozen=True)
class Waiting:
    """A message that shall be published when it is due: at a time, or so long after it is written down.

    The latter by the database's clock, which the mover goes by; a worker's own may be wrong by any amount.
    """

    due: datetime | timedelta
    stage: StageName
    share_id: str
    account: str
    topic: str
    key: bytes
    value: bytes
    headers: dict[str, str] = field(default_factory=dict)
    seq: int | None = None


def _values(status: TaskStatus, *, published: bool, anew: bool) -> tuple[object, ...]:
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


def _waiting(row: Record) -> Waiting:
    return Waiting(
        due=row["due"],
        stage=row["stage"],
        share_id=row["share_id"],
        account=row["account"],
        topic=row["topic"],
        key=row["key"],
        value=row["value"],
        headers=row["headers"],
        seq=row["seq"],
    )


class JobStore:
    """Rows of `jobs` and `waiting`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def get(self, share_id: str, stage: StageName) -> JobRow | None:
        """The job of a share's stage, if any."""
        row = await self._db.fetchrow(
            "SELECT work_key, state, attempt, published FROM jobs WHERE share_id = $1 AND stage = $2", share_id, stage
        )
        return None if row is None else JobRow(row["work_key"], row["state"], row["attempt"], row["published"])

    async def put(self, status: TaskStatus, *, published: bool = False, anew: bool = False) -> bool:
        """Write where the job stands; `published` once its event is confirmed.

        :param anew: somebody asked for it again, so it may be unfinished although its event is out.
        :return: False when the event of this very work is out already, and the job stays as it is.
        """
        return await self._db.execute(_UPSERT, *_values(status, published=published, anew=anew)) == 1

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

    async def fail_unreadable(self, share_id: str, stage: StageName, reason: str) -> None:
        """Mark the job of a message that could not be read, where its key names a known share."""
        await self._db.execute(
            """
            UPDATE jobs SET state = 'failed', reason = $3, updated_at = now()
             WHERE share_id = $1 AND stage = $2 AND state NOT IN ('done', 'skipped')
            """,
            share_id,
            stage,
            reason,
        )

    async def wait(self, status: TaskStatus, message: Waiting, *, anew: bool = False) -> bool:
        """Park a job: its state and the message that wakes it, in one transaction. The latest message wins.

        `anew` and what is returned: as in `put`; a job that stays as it is waits for nothing.
        """

        async def body(connection: Connection) -> bool:
            values = _values(status, published=False, anew=anew)
            if await connection.execute(_UPSERT, *values) == "INSERT 0 0":
                return False
            await connection.execute(
                """
                INSERT INTO waiting (due, stage, share_id, account, scope, topic, key, value, headers)
                VALUES (coalesce($1, now() + $9), $2, $3, $4, $2, $5, $6, $7, $8)
                ON CONFLICT (share_id, stage) DO UPDATE
                   SET due = excluded.due, account = excluded.account, topic = excluded.topic, key = excluded.key,
                       value = excluded.value, headers = excluded.headers
                """,
                message.due if isinstance(message.due, datetime) else None,
                message.stage,
                message.share_id,
                message.account,
                message.topic,
                message.key,
                message.value,
                message.headers,
                message.due if isinstance(message.due, timedelta) else None,
            )
            return True

        return await self._db.transaction(body)

    async def due(self, stage: StageName, lease: timedelta, limit: int = 50) -> list[Waiting]:
        """Take up to `limit` messages whose time has come, oldest first.

        A taken message stays in the table and falls due again after `lease`, unless `delivered` removes it: when
        the process dies in between, the message is published again rather than lost.
        """
        rows = await self._db.fetch(
            """
            UPDATE waiting SET due = now() + $2
             WHERE seq IN (SELECT seq FROM waiting WHERE stage = $1 AND due <= now()
                            ORDER BY due, seq LIMIT $3 FOR UPDATE SKIP LOCKED)
            RETURNING *
            """,
            stage,
            lease,
            limit,
        )
        return sorted(map(_waiting, rows), key=lambda w: w.seq or 0)

    async def delivered(self, message: Waiting) -> None:
        """Remove a message that Kafka has confirmed, unless it was replaced meanwhile."""
        await self._db.execute("DELETE FROM waiting WHERE seq = $1 AND value = $2", message.seq, message.value)
