"""What costs come to, from the sums of the ledger's journal, and the units behind them, from finished work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import Bucket, Kind
from services.api_gateway.cost_shapes import Cell, UnitsOf
from services.api_gateway.spans import Span

SCOPES: Final[Mapping[Kind, tuple[str, ...]]] = {
    "transcription": ("transcribe",),
    "llm": ("summarize",),
    "vector": ("embed", "search"),
}
"""Whose entries each kind of cost is: those of a stage, and of queries."""

# The start of the hour or day is what the ledger has written, so that sums are those of its own views.
_CELLS: Final = """
SELECT CASE WHEN $7 THEN scope ELSE '' END AS stage, CASE WHEN $6 THEN nullif(model, '') END AS model,
       CASE $5 WHEN 'hour' THEN hour_start ELSE day_start END AS start,
       sum(settled)::bigint AS settled, sum(held)::bigint AS held, sum(unconfirmed)::bigint AS unconfirmed,
       sum(overrun)::bigint AS overrun, sum(calls)::bigint AS calls
  FROM ledger_costs
 WHERE hour_start >= $2 AND hour_start < $3 AND scope = ANY ($1) AND ($4::text IS NULL OR account = $4)
 GROUP BY 1, 2, 3
"""
_UNITS: Final = """
SELECT stage, used_model AS model, used_backend AS backend, sum(used_tokens)::bigint AS tokens,
       sum(used_audio_ms)::bigint AS audio_ms
  FROM work WHERE stage = ANY ($1) AND finished_at >= $2 AND finished_at < $3
 GROUP BY 1, 2, 3
"""


async def cells(
    pool: asyncpg.Pool[asyncpg.Record],
    scopes: Sequence[str],
    span: Span,
    account: str | None,
    bucket: Bucket,
    *,
    by_stage: bool = True,
    by_model: bool = True,
) -> list[Cell]:
    """Sums of the entries of a window, by stage, model, and hour or day; of one account or of all.

    :param by_stage: else stages are not told apart, and empty: a month of hours has many cells.
    :param by_model: else models are not, and None.
    """
    rows = await pool.fetch(_CELLS, list(scopes), span.since, span.until, account, bucket, by_model, by_stage)
    return [Cell(**dict(row)) for row in rows]


async def units(pool: asyncpg.Pool[asyncpg.Record], scopes: Sequence[str], span: Span) -> list[UnitsOf]:
    """Units of the works that finished in a window, by stage and model."""
    return [UnitsOf(**dict(row)) for row in await pool.fetch(_UNITS, list(scopes), span.since, span.until)]
