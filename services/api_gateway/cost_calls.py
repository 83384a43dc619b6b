"""Single calls behind the costs of a window, from the ledger's journal, page by page."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import CallsAnswer, CostCall, Kind, WindowName
from services.api_gateway.cost_rows import SCOPES
from services.api_gateway.log_places import END, Place, cursor_of, place_of
from services.api_gateway.spans import span_of

# Each scope's newest grants by themselves, in the order of their index; then where each of those calls stands now:
# by the last entry that moved its money, or that nothing was to be paid for it.
_PAGE: Final = """
SELECT g.request_id, g.account, g.scope AS stage, g.share_id, g.model, g.amount_micro_usd AS hold_micro_usd,
       g.decided_at AS granted_at, g.partition, g.request_offset, coalesce(e.state, 'held') AS state,
       e.actual_micro_usd, coalesce(e.overrun_micro_usd, 0) AS overrun_micro_usd, e.decided_at AS ended_at,
       c.called_at, c.answered_at
  FROM (SELECT page.* FROM unnest($1::text[]) AS asked (scope)
         CROSS JOIN LATERAL (
               SELECT * FROM ledger_entries AS l
                WHERE l.scope = asked.scope AND l.calls_change = 1 AND l.hour_start >= $2 AND l.hour_start < $3
                  AND l.decided_at >= $2 AND (l.decided_at, l.partition, l.request_offset) < ($5, $6, $7)
                  AND ($4::text IS NULL OR l.account = $4)
                ORDER BY l.decided_at DESC, l.partition DESC, l.request_offset DESC LIMIT $8) AS page
         ORDER BY decided_at DESC, partition DESC, request_offset DESC LIMIT $8) AS g
  LEFT JOIN LATERAL (
       SELECT CASE outcome WHEN 'reconciled' THEN 'settled' ELSE outcome END AS state, decided_at,
              CASE WHEN outcome IN ('settled', 'reconciled') THEN actual_micro_usd END AS actual_micro_usd,
              overrun_micro_usd
         FROM ledger_entries AS l
        WHERE (l.request_id, l.account, l.partition) = (g.request_id, g.account, g.partition)
          AND l.request_offset > g.request_offset
          AND l.outcome IN ('settled', 'reconciled', 'released', 'unconfirmed')
          AND l.previous IN ('held', 'unconfirmed', 'released') AND l.previous <> l.outcome
        ORDER BY l.request_offset DESC LIMIT 1) AS e ON true
  LEFT JOIN calls AS c ON c.request_id = g.request_id
 ORDER BY g.decided_at DESC, g.partition DESC, g.request_offset DESC
"""


async def calls(
    pool: asyncpg.Pool[asyncpg.Record],
    kind: Kind,
    window: WindowName,
    *,
    account: str | None,
    cursor: str | None,
    limit: int,
    now: datetime,
) -> CallsAnswer:
    """At most `limit` calls that were granted in a window of whole buckets, newest first.

    :raises Unreadable: the cursor is none.
    """
    span, behind = span_of(window, now), place_of(cursor, END)
    rows = await pool.fetch(
        _PAGE,
        list(SCOPES[kind]),
        span.since,
        span.until,
        account,
        behind.at,
        behind.partition,
        behind.offset,
        limit + 1,
    )
    shown = rows[:limit]
    last = shown[-1] if len(rows) > limit else None
    return CallsAnswer(
        kind=kind,
        window=window,
        since=span.since,
        until=span.until,
        calls=[CostCall.model_validate(dict(row)) for row in shown],
        next=None
        if last is None
        else cursor_of(Place(last["granted_at"], last["partition"], last["request_offset"])),
    )
