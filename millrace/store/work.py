"""Leases on pieces of work, and their results: one running copy, finished once.

`fence` grows with each owner, and only the newest owner may complete. Time is the database's own, so that the
clocks of workers do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NewType

from pydantic import JsonValue

from millrace.contracts.events import StageName, TaskStatus
from millrace.ids import WorkKey
from millrace.money import MicroUSD
from millrace.store.ask import Ask
from millrace.store.database import Database, Record
from millrace.store.grouped import Grouped
from millrace.store.turns import NOT_WAITED

Fence = NewType("Fence", int)
_FIRST: Final = 1

_CLAIM = """
INSERT INTO work (work_key, stage, owner, fence, lease_until) VALUES ($1, $2, $3, 1, now() + $4)
ON CONFLICT (work_key) DO UPDATE
   SET owner = excluded.owner, fence = work.fence + 1, lease_until = excluded.lease_until
 WHERE work.result IS NULL AND work.lease_until < now()
RETURNING work_key AS key, fence, checkpoint
"""
# What nobody has taken up: the gateway has accepted it, or an earlier stage has just made it possible.
_TAKE_UP = """
WITH job AS (
    INSERT INTO jobs (share_id, stage, account, state, work_key, model, updated_at, asked_at, waited_at)
    VALUES ($5, $2, $6, 'running', $1, $7, $8, $9, $10)
    ON CONFLICT (share_id, stage) DO UPDATE
       SET account = excluded.account, state = 'running', work_key = excluded.work_key, model = excluded.model,
           reason = NULL, updated_at = excluded.updated_at, asked_at = excluded.asked_at,
           waited_at = excluded.waited_at
     WHERE jobs.state = 'queued' AND jobs.work_key IS NULL AND jobs.asked_at IS NULL AND jobs.cancelled_at IS NULL
    RETURNING share_id
), lease AS (
    INSERT INTO work (work_key, stage, owner, fence, lease_until) SELECT $1, $2, $3, 1, now() + $4 FROM job
    ON CONFLICT (work_key) DO UPDATE
       SET owner = excluded.owner, fence = work.fence + 1, lease_until = excluded.lease_until
     WHERE work.result IS NULL AND work.lease_until < now()
    RETURNING fence, checkpoint
)
SELECT $1 AS key, fence, checkpoint FROM lease
"""
# Without answers that were deleted: they are not what this result was made of.
_COMPLETE = """
WITH done AS (
    UPDATE work SET finished_at = coalesce(finished_at, now()), result = coalesce(result, $3::jsonb),
           checkpoint = NULL,
           cost_micro_usd = (SELECT coalesce(sum(actual_micro_usd), 0) FROM calls
                              WHERE calls.work_key = work.work_key AND calls.state IN ('answered', 'settled')
                                AND calls.answer IS NOT NULL
                                AND NOT EXISTS (SELECT FROM call_parts WHERE request_id = calls.request_id))
                          + (SELECT coalesce(sum(cost_micro_usd), 0) FROM call_parts
                              WHERE call_parts.work_key = work.work_key)
     WHERE work_key = $1 AND fence = $2
    RETURNING work_key, result, cost_micro_usd, finished_at
), woken AS (
    UPDATE waiting SET due = now() FROM jobs, done
     WHERE jobs.work_key = done.work_key AND waiting.share_id = jobs.share_id
       AND waiting.stage = jobs.stage AND waiting.due > now()
)
SELECT work_key AS key, result, cost_micro_usd, finished_at FROM done
"""


@dataclass(frozen=True)
class Mine:
    """The lease is ours; with the checkpoint of an earlier owner, if there is one."""

    fence: Fence
    checkpoint: JsonValue = None

    @property
    def first(self) -> bool:
        """Nobody has owned the work before. Only then is it sure that no call of it is written down: a statement does
        not see what an owner writes while it waits for that owner's lock.
        """
        return self.fence == _FIRST


@dataclass(frozen=True)
class Busy:
    """Somebody else holds the lease until then, unless they renew it."""

    until: datetime


@dataclass(frozen=True)
class Done:
    """The work is finished."""

    result: JsonValue
    cost: MicroUSD
    finished_at: datetime


def _done(row: Record) -> Done:
    return Done(row["result"], MicroUSD(row["cost_micro_usd"]), row["finished_at"])


class WorkStore:
    """Leases and results of work, for one owner (a process)."""

    def __init__(self, database: Database, owner: str, lease: timedelta) -> None:
        self._db = database
        self._owner = owner
        self._lease = lease
        self._claim = Grouped(database, _CLAIM)
        self._take_up = Grouped(database, _TAKE_UP)
        self._complete = Grouped(database, _COMPLETE)

    async def claim(self, key: WorkKey, stage: StageName) -> Mine | Busy | Done:
        """Take the lease if it is free, expired or given back."""
        while True:
            row = await self._claim(key, stage, self._owner, self._lease)
            if row is not None:
                return Mine(Fence(row["fence"]), row["checkpoint"])
            row = await self._db.fetchrow(
                "SELECT result, cost_micro_usd, finished_at, lease_until FROM work WHERE work_key = $1", key
            )
            if row is not None:  # else deleted between the two statements: claim again
                return Busy(row["lease_until"]) if row["result"] is None else _done(row)

    async def take_up(self, status: TaskStatus, ask: Ask) -> Mine | None:
        """Write down that a new job runs, and take the lease on its work, at once.

        None when something was known of the job, or when somebody else has or had the work, although it is written
        down that the job runs: then `JobStore.get` and `claim` tell.
        """
        row = await self._take_up(
            status.work_key or "",  # the key of the statement: groups lock works in their order, as `claim` does
            status.stage,
            self._owner,
            self._lease,
            status.share_id,
            status.account,
            status.model,
            status.updated_at,
            ask.turn and ask.turn.asked_at,
            ask.turn.waited_at if ask.turn else NOT_WAITED,
        )
        return None if row is None else Mine(Fence(row["fence"]), row["checkpoint"])

    async def renew(self, key: WorkKey, fence: Fence) -> bool:
        """Hold on for another lease; False when somebody else has taken over or the work is finished."""
        changed = await self._db.execute(
            "UPDATE work SET lease_until = now() + $3 WHERE work_key = $1 AND fence = $2 AND result IS NULL",
            key,
            fence,
            self._lease,
        )
        return changed == 1

    async def keep(self, key: WorkKey, fence: Fence, checkpoint: JsonValue) -> bool:
        """Keep a checkpoint of unfinished work; False when somebody else has taken over."""
        changed = await self._db.execute(
            "UPDATE work SET checkpoint = $3::jsonb WHERE work_key = $1 AND fence = $2 AND result IS NULL",
            key,
            fence,
            checkpoint,
        )
        return changed == 1

    async def give_back(self, key: WorkKey, fence: Fence) -> None:
        """Let others take the unfinished work at once."""
        await self._db.execute(
            """
            UPDATE work SET lease_until = now() - interval '1 ms'
             WHERE work_key = $1 AND fence = $2 AND result IS NULL
            """,
            key,
            fence,
        )

    async def complete(self, key: WorkKey, fence: Fence, result: JsonValue) -> Done | None:
        """Store the result and what its calls cost, and wake the jobs that wait for it; None when the fence is no
        longer ours.

        Completing twice with the same fence is the same as once (the reply to the first may have been lost).
        """
        row = await self._complete(key, fence, result)
        return None if row is None else _done(row)
