"""What the media agent's fetching has come to, by platform."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import FetchAnswer, FetchPlatform, FetchReason, Spread, WindowName
from services.api_gateway.durations import NEWEST
from services.api_gateway.spans import span_of

_MOST_REASONS: Final = 10
_JOBS: Final = """
SELECT s.platform, j.state, count(*) AS jobs, sum(j.attempt) AS retries
  FROM jobs j JOIN shares s USING (share_id)
 WHERE j.stage = 'media' AND s.source_kind = 'url' AND j.updated_at >= $1 AND j.updated_at < $2 GROUP BY 1, 2
"""
_REASONS: Final = """
SELECT s.platform, j.state, left(j.reason, 200) AS reason, count(*) AS jobs
  FROM jobs j JOIN shares s USING (share_id)
 WHERE j.stage = 'media' AND s.source_kind = 'url' AND j.state IN ('failed', 'skipped', 'waiting')
   AND j.updated_at >= $1 AND j.updated_at < $2
 GROUP BY 1, 2, 3 ORDER BY jobs DESC, reason
"""
_DEAD: Final = """
SELECT s.platform, count(*) AS dead, count(*) FILTER (WHERE d.state = 'open') AS dead_open
  FROM dead_letters d JOIN shares s USING (share_id)
 WHERE d.stage = 'media' AND s.source_kind = 'url' AND d.died_at >= $1 AND d.died_at < $2 GROUP BY 1
"""
# Works that several shares have in common count for each of their platforms once.
_TOOK: Final = """
SELECT platform, count(*) AS count,
       round(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY took))::bigint AS p50_ms,
       round(1000 * percentile_cont(0.95) WITHIN GROUP (ORDER BY took))::bigint AS p95_ms
  FROM (SELECT DISTINCT s.platform, w.work_key, greatest(0, extract(epoch FROM w.finished_at - w.created_at)) AS took
          FROM (SELECT work_key, created_at, finished_at FROM work
                 WHERE stage = 'media' AND finished_at >= $1 AND finished_at < $2
                 ORDER BY finished_at DESC LIMIT $3) AS w
          JOIN jobs j ON j.work_key = w.work_key AND j.stage = 'media'
          JOIN shares s ON s.share_id = j.share_id AND s.source_kind = 'url') AS fetched
 GROUP BY platform
"""


async def fetch_figures(pool: asyncpg.Pool[asyncpg.Record], window: WindowName, now: datetime) -> FetchAnswer:
    """Shares of URLs whose fetching changed in the window; uploads are not fetched."""
    span = span_of(window, now)
    jobs = await pool.fetch(_JOBS, span.since, span.until)
    reasons = await pool.fetch(_REASONS, span.since, span.until)
    dead = {row["platform"]: row for row in await pool.fetch(_DEAD, span.since, span.until)}
    took = {
        row["platform"]: Spread.model_validate(dict(row))
        for row in await pool.fetch(_TOOK, span.since, span.until, NEWEST)
    }
    platforms = sorted({row["platform"] for row in jobs} | set(dead) | set(took))
    return FetchAnswer(
        window=window,
        since=span.since,
        until=span.until,
        platforms=[
            FetchPlatform(
                platform=platform,
                states={row["state"]: row["jobs"] for row in _of(jobs, platform)},
                retries=sum(row["retries"] for row in _of(jobs, platform)),
                dead=dead[platform]["dead"] if platform in dead else 0,
                dead_open=dead[platform]["dead_open"] if platform in dead else 0,
                durations=took.get(platform),
                reasons=[FetchReason.model_validate(dict(row)) for row in _of(reasons, platform)[:_MOST_REASONS]],
            )
            for platform in platforms
        ],
    )


def _of(rows: Sequence[asyncpg.Record], platform: str) -> list[asyncpg.Record]:
    return [row for row in rows if row["platform"] == platform]
