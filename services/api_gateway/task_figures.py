"""What jobs of all stages have come to in a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import SkipReason, TasksAnswer, TaskStage, WindowName
from millrace.contracts.catalog import Catalog
from services.api_gateway.durations import durations
from services.api_gateway.spans import span_of

_MOST_REASONS: Final = 10
_JOBS: Final = """
SELECT stage, state, count(*) AS jobs, sum(attempt) AS retries
  FROM jobs WHERE updated_at >= $1 AND updated_at < $2 GROUP BY stage, state
"""
_SKIPPED: Final = """
SELECT stage, left(reason, 200) AS reason, count(*) AS jobs FROM jobs
 WHERE state = 'skipped' AND updated_at >= $1 AND updated_at < $2 GROUP BY 1, 2 ORDER BY jobs DESC, reason
"""
_DEAD: Final = """
SELECT stage, count(*) FILTER (WHERE died_at >= $1 AND died_at < $2) AS dead,
       count(*) FILTER (WHERE state = 'open') AS dead_open
  FROM dead_letters WHERE state = 'open' OR died_at >= $1 GROUP BY stage
"""


async def tasks(
    pool: asyncpg.Pool[asyncpg.Record], catalog: Catalog, window: WindowName, now: datetime
) -> TasksAnswer:
    """Every stage of the catalogue; a job counts in the window in which it changed last."""
    span = span_of(window, now)
    jobs = await pool.fetch(_JOBS, span.since, span.until)
    skipped = await pool.fetch(_SKIPPED, span.since, span.until)
    dead = {row["stage"]: row for row in await pool.fetch(_DEAD, span.since, span.until)}
    took = await durations(pool, list(catalog.stages), span)
    return TasksAnswer(
        window=window,
        since=span.since,
        until=span.until,
        stages=[
            TaskStage(
                stage=stage,
                states={row["state"]: row["jobs"] for row in _of(jobs, stage)},
                durations=took.get(stage),
                retries=sum(row["retries"] for row in _of(jobs, stage)),
                skipped=[SkipReason.model_validate(dict(row)) for row in _of(skipped, stage)[:_MOST_REASONS]],
                dead=_count(dead, stage, "dead"),
                dead_open=_count(dead, stage, "dead_open"),
            )
            for stage in catalog.stages
        ],
    )


def _of(rows: Sequence[asyncpg.Record], stage: str) -> list[asyncpg.Record]:
    return [row for row in rows if row["stage"] == stage]


def _count(rows: Mapping[str, asyncpg.Record], stage: str, what: str) -> int:
    row = rows.get(stage)
    return 0 if row is None else int(row[what])
