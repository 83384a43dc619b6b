"""Models beside one another: what they cost, how much they did for it, how long they took, how often they failed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import ModelFigures, ModelsAnswer, Spread, WindowName
from services.api_gateway.cost_rows import SCOPES, cells, units
from services.api_gateway.cost_shapes import Cell, UnitsOf, sums, total
from services.api_gateway.spans import span_of

NEWEST: Final = 2_000
"""Calls of all models that are looked at: rows of calls hold whole answers, and lie beside them."""
_PER_TOKENS: Final = 1_000_000
_PER_AUDIO_MS: Final = 3_600_000
_CALLS: Final = """
WITH newest AS (
    SELECT scope, model, state, extract(epoch FROM answered_at - called_at) AS took FROM calls
     WHERE created_at >= $1 AND created_at < $2 ORDER BY created_at DESC LIMIT $3
)
SELECT scope AS stage, model, count(*) FILTER (WHERE state NOT IN ('denied', 'abandoned', 'reserving')) AS looked_at,
       count(*) FILTER (WHERE state IN ('released', 'unconfirmed')) AS failed, count(took) AS count,
       round(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY took))::bigint AS p50_ms,
       round(1000 * percentile_cont(0.95) WITHIN GROUP (ORDER BY took))::bigint AS p95_ms
  FROM newest GROUP BY scope, model
"""


async def models(pool: asyncpg.Pool[asyncpg.Record], window: WindowName, now: datetime) -> ModelsAnswer:
    """Every model with calls in a window of whole buckets, the dearest first.

    Costs are of calls that were granted in it, units of works that finished in it: what is under way at its ends is
    in one of them only.
    """
    span = span_of(window, now)
    scopes = [scope for kind in SCOPES.values() for scope in kind]
    costs, done, newest = await asyncio.gather(
        cells(pool, scopes, span, None, "day"),
        units(pool, scopes, span),
        pool.fetch(_CALLS, span.since, span.until, NEWEST),
    )
    seen = {(row["stage"], row["model"]): dict(row) for row in newest}
    found: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in costs:
        found.setdefault((cell.stage, cell.model), []).append(cell)
    figures = [compared(key, entries, done, seen.get(key)) for key, entries in found.items()]
    figures.sort(key=lambda one: (-one.settled_micro_usd, one.stage, one.model or ""))
    return ModelsAnswer(window=window, since=span.since, until=span.until, models=figures)


def compared(
    key: tuple[str, str | None],
    entries: Sequence[Cell],
    done: Sequence[UnitsOf],
    seen: Mapping[str, object] | None,
) -> ModelFigures:
    """One model of one stage. Pure.

    :param seen: of its newest calls: `looked_at`, `failed`, and `count`, `p50_ms`, `p95_ms` of the answered ones.
    """
    stage, model = key
    used = total([one for one in done if (one.stage, one.model) == key])
    costs = sums(entries)
    newest = seen or {"looked_at": 0, "failed": 0, "count": 0}
    return ModelFigures.model_validate(
        {
            **dict(costs),
            "stage": stage,
            "model": model,
            "units": used,
            "micro_usd_per_million_tokens": _per(costs.settled_micro_usd, used.tokens, _PER_TOKENS),
            "micro_usd_per_audio_hour": _per(costs.settled_micro_usd, used.audio_ms, _PER_AUDIO_MS),
            "looked_at": newest["looked_at"],
            "failed": newest["failed"],
            "latency": Spread.model_validate(newest) if newest["count"] else None,
        }
    )


def _per(cost: int, units_used: int | None, unit: int) -> int | None:
    return -(-cost * unit // units_used) if units_used else None
