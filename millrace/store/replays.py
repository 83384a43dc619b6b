"""Replays that were begun, and how far they are; and what is known of the work that they ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from millrace.contracts.events import StageName
from millrace.errors import ConfigurationError
from millrace.ids import WorkKey
from millrace.money import MicroUSD
from millrace.store.database import Database, Record
from millrace.store.pool import OUTAGES

_LOCKS = 7_215_332  # class of advisory locks: one process at a time publishes a replay
_KEYS = 1000
_SAMPLE = 1000
"""Pieces of past work that an average is of, the newest."""

_LIST = """
SELECT *, NOT pg_try_advisory_xact_lock_shared($1, hashtext(replay_id)) AS running FROM replays
 WHERE $2::text IS NULL OR replay_id = $2 ORDER BY created_at DESC LIMIT $3
"""
_AVERAGES = """
SELECT model, ceil(avg(cost_micro_usd))::bigint AS cost FROM (
    SELECT DISTINCT ON (work.finished_at, work.work_key) jobs.model, work.cost_micro_usd
      FROM work JOIN jobs USING (work_key)
     WHERE work.stage = $1 AND jobs.model = ANY($2::text[]) AND work.finished_at IS NOT NULL
     ORDER BY work.finished_at DESC, work.work_key LIMIT $3
) AS past GROUP BY model
"""


@dataclass(frozen=True)
class ReplayRow:
    """A replay: `asked_at` is the turn of its commands, `shares` None when it is about all."""

    replay_id: str
    stage: StageName
    asked_at: datetime
    options: Mapping[str, str]
    shares: Sequence[str] | None
    stretches: JsonValue
    commands: int
    published: int = 0
    created_at: datetime | None = None
    finished_at: datetime | None = None
    running: bool = False


def _row(row: Record) -> ReplayRow:
    return ReplayRow(**{name: row[name] for name in ReplayRow.__dataclass_fields__})


class ReplayStore:
    """Rows of `replays`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def now(self) -> datetime:
        """The database's time."""
        row = await self._db.fetchrow("SELECT now() AS now")
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        now: datetime = row["now"]
        return now

    async def begin(self, replay: ReplayRow) -> None:
        """Write down what will be published, before any of it is."""
        await self._db.execute(
            """
            INSERT INTO replays (replay_id, stage, asked_at, options, shares, stretches, commands)
            VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING
            """,
            replay.replay_id,
            replay.stage,
            replay.asked_at,
            dict(replay.options),
            None if replay.shares is None else list(replay.shares),
            replay.stretches,
            replay.commands,
        )

    async def published(self, replay_id: str, stretches: JsonValue, count: int, *, finished: bool = False) -> None:
        """How far it is, once Kafka has confirmed so many commands in all."""
        await self._db.execute(
            """
            UPDATE replays SET stretches = $2, published = $3, updated_at = now(),
                   finished_at = CASE WHEN $4 THEN coalesce(finished_at, now()) END
             WHERE replay_id = $1
            """,
            replay_id,
            stretches,
            count,
            finished,
        )

    async def get(self, replay_id: str) -> ReplayRow | None:
        """A replay, if there is one."""
        rows = await self._db.fetch(_LIST, _LOCKS, replay_id, 1)
        return _row(rows[0]) if rows else None

    async def newest(self, limit: int) -> list[ReplayRow]:
        """The latest ones first."""
        return [_row(row) for row in await self._db.fetch(_LIST, _LOCKS, None, limit)]

    @asynccontextmanager
    async def sole_publisher(self, replay_id: str) -> AsyncIterator[None]:
        """Hold the replay for as long as the context is open; PostgreSQL frees it when the process dies.

        :raises ConfigurationError: another process has it.
        """
        async with self._db.pool.acquire() as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1, hashtext($2))", _LOCKS, replay_id):
                raise ConfigurationError(f"The replay {replay_id} is running already: wait for it, or stop it first.")
            try:
                yield
            finally:
                with suppress(*OUTAGES):  # then the session is over, and the lock with it
                    await connection.execute("SELECT pg_advisory_unlock($1, hashtext($2))", _LOCKS, replay_id)

    async def states(self, replay: ReplayRow) -> dict[str, int]:
        """Jobs that its commands have reached, by their state."""
        rows = await self._db.fetch(
            "SELECT state, count(*) AS jobs FROM jobs WHERE stage = $1 AND asked_at = $2 GROUP BY state",
            replay.stage,
            replay.asked_at,
        )
        return {row["state"]: row["jobs"] for row in rows}

    async def done(self, keys: Collection[WorkKey]) -> set[WorkKey]:
        """Which of these pieces of work are finished."""
        found: set[WorkKey] = set()
        every = sorted(keys)
        for first in range(0, len(every), _KEYS):
            rows = await self._db.fetch(
                "SELECT work_key FROM work WHERE work_key = ANY($1::text[]) AND result IS NOT NULL",
                every[first : first + _KEYS],
            )
            found.update(WorkKey(row["work_key"]) for row in rows)
        return found

    async def averages(self, stage: StageName, models: Collection[str]) -> dict[str, MicroUSD]:
        """What a piece of the stage's work has cost lately, by model; models that it has not used are left out."""
        rows = await self._db.fetch(_AVERAGES, stage, sorted(models), _SAMPLE)
        return {row["model"]: MicroUSD(row["cost"]) for row in rows}

    async def last_model(self, stage: StageName) -> str | None:
        """The model of the stage's latest job that nobody has chosen a model for; None when there is no such job."""
        row = await self._db.fetchrow(
            """
            SELECT model FROM jobs WHERE stage = $1 AND model IS NOT NULL AND NOT EXISTS (
                SELECT FROM replays WHERE replays.stage = jobs.stage AND replays.asked_at = jobs.asked_at
                                      AND options ? 'model'
            ) ORDER BY updated_at DESC LIMIT 1
            """,
            stage,
        )
        return None if row is None else row["model"]
