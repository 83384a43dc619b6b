"""What transcription, language models and vectors cost: totals, groups and a series."""

from __future__ import annotations

from datetime import datetime

import asyncpg

from millrace.contracts.analytics_api import CostsAnswer, GroupBy, Kind, WindowName
from services.api_gateway.cost_rows import SCOPES, cells, units
from services.api_gateway.cost_shapes import groups, series, sums, total
from services.api_gateway.spans import span_of


async def costs(
    pool: asyncpg.Pool[asyncpg.Record],
    kind: Kind,
    window: WindowName,
    *,
    group_by: GroupBy,
    account: str | None,
    now: datetime,
) -> CostsAnswer:
    """Costs of a window of whole buckets (`spans.span_of`): its totals are those of its groups and of its series."""
    span = span_of(window, now)
    bucket = "hour" if group_by == "hour" else span.bucket
    by_stage, by_model = group_by == "stage", group_by == "model"
    found = await cells(pool, SCOPES[kind], span, account, bucket, by_stage=by_stage, by_model=by_model)
    return CostsAnswer(
        kind=kind,
        window=window,
        group_by=group_by,
        account=account,
        since=span.since,
        until=span.until,
        totals=sums(found),
        units=None if account is not None else total(await units(pool, SCOPES[kind], span)),
        groups=groups(found, group_by),
        bucket=span.bucket,
        series=series(found, span),
    )
