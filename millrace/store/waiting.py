"""Work that waits for its time, and the gates that let it go on one after another.

A gate stands for what holds many jobs back at once: a budget that refused, a model that fails. What is due behind it
is let through in the order (due, place): one first, and one more at a time for each that passed. One that is refused
moves what needs as much behind it to a later time, without asking for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from millrace.contracts.events import StageName, TaskStatus
from millrace.errors import Refusal
from millrace.money import MicroUSD
from millrace.store.database import Connection, Database, Record

MOST_UNDER_WAY: Final = 50
"""How many jobs may be on their way through a gate: so many are refused at most when its budget is used up."""
ASK_AGAIN: Final = timedelta(seconds=30)
"""After this long without a move a gate lets one through again: those that were under way may have died."""

_PUT = """
INSERT INTO waiting (due, stage, share_id, account, scope, topic, key, value, headers, gate, place)
VALUES (coalesce($1, now() + $9), $2, $3, $4, $2, $5, $6, $7, $8, $10, coalesce($11, nextval('waiting_place')))
ON CONFLICT (share_id, stage) DO UPDATE
   SET due = excluded.due, account = excluded.account, topic = excluded.topic, key = excluded.key,
       value = excluded.value, headers = excluded.headers, gate = excluded.gate
"""
_ENSURE = """
INSERT INTO gates (stage, name, until, allowed, closings) VALUES ($1, $2, now(), 1, 0)
ON CONFLICT (stage, name) DO UPDATE SET name = excluded.name
"""
_SHUT = """
INSERT INTO gates (stage, name, until, allowed, closings, needed_micro_usd, left_micro_usd, cap, cap_micro_usd)
VALUES ($1, $2, coalesce($3, now() + $4), 1, 1, $5, $6, $7, $8)
ON CONFLICT (stage, name) DO UPDATE
   SET until = excluded.until, allowed = 1, under_way = greatest(gates.under_way - $9, 0), moved_at = now(),
       closings = gates.closings + (gates.until <= now())::int,
       needed_micro_usd = excluded.needed_micro_usd, left_micro_usd = excluded.left_micro_usd, cap = excluded.cap,
       cap_micro_usd = excluded.cap_micro_usd
RETURNING until
"""
# Only what is due: the rest has a later time of its own.
_HOLD_BACK = """
WITH behind AS (
    UPDATE waiting SET due = $3 FROM jobs
     WHERE waiting.stage = $1 AND waiting.gate = $2 AND waiting.due <= now()
       AND (jobs.share_id, jobs.stage) = (waiting.share_id, waiting.stage)
       AND ($4::bigint IS NULL OR jobs.needed_micro_usd >= $4)
    RETURNING waiting.share_id
)
UPDATE jobs SET resume_at = $3, reason = $5, left_micro_usd = $6, cap = $7, updated_at = now()
  FROM behind WHERE jobs.share_id = behind.share_id AND jobs.stage = $1
RETURNING jobs.*
"""
_TAKE = """
WITH open AS (
    SELECT name, least(under_way, allowed - 1) * (moved_at >= now() - $4::interval)::int AS under_way, allowed
      FROM gates WHERE stage = $1 AND (allowed > under_way OR moved_at < now() - $4::interval) FOR UPDATE SKIP LOCKED
), through AS (
    SELECT next.seq, open.name, open.under_way FROM open CROSS JOIN LATERAL (
        SELECT seq FROM waiting
         WHERE stage = $1 AND gate = open.name AND due <= now()
         ORDER BY due, place LIMIT open.allowed - open.under_way
    ) AS next
), used AS (
    UPDATE gates SET under_way = spent.under_way, moved_at = now()
      FROM (SELECT name, under_way + count(*) AS under_way FROM through GROUP BY name, under_way) AS spent
     WHERE gates.stage = $1 AND gates.name = spent.name
), free AS (
    SELECT seq FROM waiting WHERE stage = $1 AND gate IS NULL AND due <= now()
     ORDER BY due, place LIMIT $3 FOR UPDATE SKIP LOCKED
)
UPDATE waiting SET due = now() + $2 WHERE seq IN (SELECT seq FROM free UNION ALL SELECT seq FROM through)
RETURNING waiting.*
"""
_PASSED = """
UPDATE gates SET allowed = least(allowed + 1, $3), under_way = greatest(under_way - 1, 0), closings = 0,
       moved_at = now(),
       until = CASE WHEN needed_micro_usd IS NULL THEN least(until, now()) ELSE until END
 WHERE stage = $1 AND name = $2
"""


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
    gate: str | None = None
    place: int | None = None
    """Where it stood when it waited before: one that a budget refuses again does not go to the end of the queue."""
    seq: int | None = None


@dataclass(frozen=True)
class Shut:
    """What a job found at its gate: until its message is due, nobody who needs as much gets through.

    `why` is shown of the jobs behind it; without a refusal everybody is held back.
    """

    why: str
    refusal: Refusal | None = None
    was_let_through: bool = False
    """The job had waited behind this gate, and is no longer under way now."""


@dataclass(frozen=True)
class ShutGate:
    """A gate that newcomers do not pass: a budget's until its time, a model's until somebody has got through."""

    name: str
    until: datetime
    closed: bool
    """Nobody passes; else one tries."""
    closings: int
    """How often in a row it was closed without anybody passing in between."""
    refusal: Refusal | None


async def put(connection: Connection, message: Waiting) -> None:
    """Write down what waits; a share's stage waits for one thing, the latest."""
    await connection.execute(
        _PUT,
        message.due if isinstance(message.due, datetime) else None,
        message.stage,
        message.share_id,
        message.account,
        message.topic,
        message.key,
        message.value,
        message.headers,
        message.due if isinstance(message.due, timedelta) else None,
        message.gate,
        message.place,
    )


async def shut(connection: Connection, message: Waiting, found: Shut | None) -> list[TaskStatus]:
    """Close the gate of a message until it is due; with nothing found, only see to it that there is one.

    Before anything else of a transaction: all who change what waits behind a gate lock its row first.

    :return: where the jobs stand that are held back with it.
    """
    if message.gate is None:
        return []
    if found is None:
        await connection.execute(_ENSURE, message.stage, message.gate)
        return []
    refusal = found.refusal
    until = await connection.fetchval(
        _SHUT,
        message.stage,
        message.gate,
        message.due if isinstance(message.due, datetime) else None,
        message.due if isinstance(message.due, timedelta) else None,
        refusal and refusal.needed_micro_usd,
        refusal and refusal.left_micro_usd,
        refusal and refusal.cap,
        refusal and refusal.cap_micro_usd,
        int(found.was_let_through),
    )
    rows = await connection.fetch(
        _HOLD_BACK,
        message.stage,
        message.gate,
        until,
        refusal and refusal.needed_micro_usd,
        found.why,
        refusal and refusal.left_micro_usd,
        refusal and refusal.cap,
    )
    return [status_of(row) for row in rows]


def status_of(row: Record) -> TaskStatus:
    """Where a job stands, from its row in `jobs`."""
    columns = dict(row)
    return TaskStatus.model_validate({name: columns[name] for name in TaskStatus.model_fields if name in columns})


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
        gate=row["gate"],
        place=row["place"],
        seq=row["seq"],
    )


def _shut_gate(row: Record) -> ShutGate:
    refusal = row["needed_micro_usd"] is not None and Refusal(
        cap=row["cap"],
        needed_micro_usd=MicroUSD(row["needed_micro_usd"]),
        left_micro_usd=MicroUSD(row["left_micro_usd"]),
        cap_micro_usd=MicroUSD(row["cap_micro_usd"]),
        room_at=row["until"],
    )
    return ShutGate(row["name"], row["until"], row["closed"], row["closings"], refusal or None)


class WaitingStore:
    """Rows of `waiting` and `gates` of one stage, as its movers and workers see them."""

    def __init__(self, database: Database, stage: StageName) -> None:
        self._db = database
        self._stage = stage

    async def take(self, lease: timedelta, limit: int = 50, ask_again: timedelta = ASK_AGAIN) -> list[Waiting]:
        """Take messages whose time has come, oldest first: up to `limit` free ones, and of each gate what it lets
        through.

        A taken message stays in the table and falls due again after `lease`, unless `delivered` removes it: when
        the process dies in between, the message is published again rather than lost.
        """
        rows = await self._db.fetch(_TAKE, self._stage, lease, limit, ask_again)
        return sorted(map(_waiting, rows), key=lambda w: w.place or 0)

    async def delivered(self, message: Waiting) -> None:
        """Remove a message that Kafka has confirmed, unless it was replaced meanwhile."""
        await self._db.execute("DELETE FROM waiting WHERE seq = $1 AND value = $2", message.seq, message.value)

    async def passed(self, gate: str) -> None:
        """Somebody got through: another one may follow, and one more at a time from now on."""
        await self._db.execute(_PASSED, self._stage, gate, MOST_UNDER_WAY)

    async def shut_gates(self) -> Sequence[ShutGate]:
        """Gates that newcomers do not pass at present."""
        sql = """
            SELECT *, until > now() AS closed FROM gates
             WHERE stage = $1 AND (until > now() OR needed_micro_usd IS NULL AND closings > 0)
        """
        return [_shut_gate(row) for row in await self._db.fetch(sql, self._stage)]
