"""Where all work stands now, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import OutboxView, PipelineAnswer, PipelineStage
from millrace.contracts.catalog import Catalog
from millrace.contracts.dead import DEAD_GATE
from services.api_gateway.outbox import lag

# Most jobs have ended long ago: each part is answered from an index, and reads none of those.
_STAGES: Final = """
WITH standing AS (
    SELECT stage, count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'queued') AS queued, count(*) FILTER (WHERE state = 'running') AS running,
           count(*) FILTER (WHERE state = 'parked') AS parked, count(*) FILTER (WHERE state = 'failed') AS failed
      FROM jobs WHERE stage = ANY ($3) AND state IN ('waiting', 'queued', 'running', 'parked', 'failed')
     GROUP BY stage
), lately AS (
    SELECT stage, count(*) FILTER (WHERE state = 'done' AND updated_at >= $1) AS done_last_hour,
           count(*) FILTER (WHERE state = 'done') AS done_last_day,
           sum(attempt) FILTER (WHERE updated_at >= $1) AS retries_last_hour
      FROM jobs WHERE updated_at >= $2 GROUP BY stage
)
SELECT * FROM standing FULL JOIN lately USING (stage)
"""
_DEAD: Final = "SELECT stage, count(*) AS dead_open FROM dead_letters WHERE state = 'open' GROUP BY stage"
_PAUSED: Final = "SELECT stage, until FROM gates WHERE name = $1 AND closings > 0"
_COUNTS: Final = (
    *("waiting", "queued", "running", "parked", "failed"),
    *("done_last_hour", "done_last_day", "retries_last_hour", "dead_open"),
)


async def pipeline(
    pool: asyncpg.Pool[asyncpg.Record], catalog: Catalog, lags: Mapping[str, int], now: datetime
) -> PipelineAnswer:
    """Every stage of the catalogue.

    :param lags: records behind, by stage; where one is missing, nobody knows.
    """
    jobs = await pool.fetch(_STAGES, now - timedelta(hours=1), now - timedelta(days=1), list(catalog.stages))
    dead = await pool.fetch(_DEAD)
    paused = {row["stage"]: row["until"] for row in await pool.fetch(_PAUSED, DEAD_GATE)}
    waiting = await lag(pool)
    known: dict[str, dict[str, int]] = {stage: dict.fromkeys(_COUNTS, 0) for stage in catalog.stages}
    for row in (*jobs, *dead):
        if row["stage"] in known:
            known[row["stage"]].update({name: row[name] or 0 for name in _COUNTS if name in dict(row)})
    return PipelineAnswer(
        stages=[
            PipelineStage.model_validate(
                {"stage": stage, "lag": lags.get(stage), "paused_until": paused.get(stage), **known[stage]}
            )
            for stage in catalog.stages
        ],
        outbox=OutboxView(
            messages=waiting.messages,
            oldest_s=None if waiting.oldest is None else (now - waiting.oldest).total_seconds(),
        ),
    )
