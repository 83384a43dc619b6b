"""How much is shared and spent, hour by hour or day by day, in total and by user."""

from __future__ import annotations

import asyncio
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
# A call may be about texts of several shares: what it cost goes from the share that paid to those that it was for, by
# the parts of the receipts. Where those are not what the ledger has booked, say because it has booked nothing yet,
# that is cut by their running sum, and adds up all the same. An hour for clocks that differ.
_SPENT: Final = """
WITH parts AS (
    SELECT request_id, work_key, share_id, cost_micro_usd AS part FROM call_parts
     WHERE added_at >= $1::timestamptz - interval '1 hour'
), divided AS (
    SELECT request_id, sum(part) AS whole FROM parts GROUP BY request_id HAVING sum(part) > 0
), paid AS (
    SELECT d.request_id, d.whole, e.hour_start, e.day_start, min(e.share_id) AS payer,
           sum(e.settled_change)::bigint AS settled
      FROM divided AS d JOIN calls AS c USING (request_id)
      JOIN ledger_entries AS e ON (e.request_id, e.account) = (c.request_id, c.account)
     WHERE e.hour_start >= $1 AND e.hour_start < $2
     GROUP BY 1, 2, 3, 4
), otherwise AS (
    SELECT share_id, hour_start, day_start, settled, whole, part, sum(part) OVER (
               PARTITION BY request_id, hour_start, day_start ORDER BY work_key) AS until
      FROM paid JOIN parts USING (request_id) WHERE settled <> whole
), used AS (
    SELECT share_id, hour_start, day_start, settled, calls FROM ledger_use
     WHERE hour_start >= $1 AND hour_start < $2 AND (settled, calls) <> (0, 0)
     UNION ALL
    SELECT payer, hour_start, day_start, -settled, 0 FROM paid
     UNION ALL
    SELECT share_id, hour_start, day_start, part, 0 FROM paid JOIN parts USING (request_id) WHERE settled = whole
     UNION ALL
    SELECT share_id, hour_start, day_start,
           (div(settled * until, whole) - div(settled * (until - part), whole))::bigint, 0
      FROM otherwise
)
SELECT s.owner AS "user", CASE $3 WHEN 'hour' THEN u.hour_start ELSE u.day_start END AS start,
       sum(u.settled)::bigint AS settled, sum(u.calls)::bigint AS calls
  FROM used AS u LEFT JOIN shares AS s USING (share_id)
 GROUP BY 1, 2
"""


async def usage(pool: asyncpg.Pool[asyncpg.Record], window: WindowName, now: datetime) -> UseAnswer:
    """Use in a window of whole buckets.

    A share counts when it was created, money in the ledger's hour or day; so one may have cost money before or after.
    """
    span = span_of(window, now)
    shared, spent = await asyncio.gather(
        pool.fetch(_SHARES, span.since, span.until, span.bucket),
        pool.fetch(_SPENT, span.since, span.until, span.bucket),
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
