"""How much is shared and spent, hour by hour or day by day, in total and by user."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import UseAnswer, WindowName
from services.api_gateway.spans import span_of
from services.api_gateway.use_shapes import Use, by_user, series

MOST_USERS: Final = 50
_SHARES: Final = """
SELECT owner AS "user", date_trunc($3, created_at) AS start, count(*) AS shares
  FROM shares WHERE created_at >= $1 AND created_at < $2 GROUP BY 1, 2
"""
_SPENT: Final = """
SELECT s.owner AS "user", CASE $3 WHEN 'hour' THEN e.hour_start ELSE e.day_start END AS start,
       sum(e.settled_change)::bigint AS settled, sum(e.calls_change)::bigint AS calls
  FROM ledger_entries AS e LEFT JOIN shares AS s USING (share_id)
 WHERE e.scope = ANY ($4) AND e.hour_start >= $1 AND e.hour_start < $2
   AND (e.settled_change <> 0 OR e.calls_change <> 0)
 GROUP BY 1, 2
"""


async def usage(
    pool: asyncpg.Pool[asyncpg.Record], scopes: Sequence[str], window: WindowName, now: datetime
) -> UseAnswer:
    """Use in a window of whole buckets.

    A share counts when it was created, money in the ledger's hour or day; so one may have cost money before or after.

    :param scopes: those that spend.
    """
    span = span_of(window, now)
    shared, spent = await asyncio.gather(
        pool.fetch(_SHARES, span.since, span.until, span.bucket),
        pool.fetch(_SPENT, span.since, span.until, span.bucket, list(scopes)),
    )
    found = [Use(**dict(row)) for row in (*shared, *spent)]
    users = by_user(found, span)
    return UseAnswer(
        window=window,
        since=span.since,
        until=span.until,
        bucket=span.bucket,
        series=series(found, span),
        users=len(users),
        by_user=users[:MOST_USERS],
    )
