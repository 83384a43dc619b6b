"""How long work took, and how long calls took, of the newest that ended: the tables hold all there ever was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import Spread
from services.api_gateway.spans import Span

NEWEST: Final = 1_000
"""Enough for a 95th percentile; percentiles of everything would sort everything."""

_WORKS: Final = """
SELECT stage, count(*) AS count,
       round(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY took))::bigint AS p50_ms,
       round(1000 * percentile_cont(0.95) WITHIN GROUP (ORDER BY took))::bigint AS p95_ms
  FROM (SELECT stage, greatest(0, extract(epoch FROM finished_at - created_at)) AS took
          FROM unnest($1::text[]) AS asked (name)
         CROSS JOIN LATERAL (
               SELECT stage, created_at, finished_at FROM work
                WHERE stage = asked.name AND finished_at >= $2 AND finished_at < $3
                ORDER BY finished_at DESC LIMIT $4) AS newest) AS ended
 GROUP BY stage
"""


async def durations(pool: asyncpg.Pool[asyncpg.Record], stages: Sequence[str], span: Span) -> dict[str, Spread]:
    """By stage, of those whose work ended in the window: from the first time a worker took it to its result."""
    rows = await pool.fetch(_WORKS, list(stages), span.since, span.until, NEWEST)
    return {row["stage"]: Spread.model_validate(dict(row)) for row in rows}
