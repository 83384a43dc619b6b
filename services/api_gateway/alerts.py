"""The alerts that the cost ledger has raised about an account's budgets, from PostgreSQL."""

from __future__ import annotations

import asyncpg

from millrace.contracts.budget_api import AlertsAnswer, AlertView

_ALERTS = """
SELECT alert_id, account, scope, "window", start, kind, percent, used_micro_usd, cap_micro_usd, exhausted_at,
       raised_at, seq
  FROM ledger_alerts WHERE account = $1 AND ($2::bigint IS NULL OR seq < $2) ORDER BY seq DESC LIMIT $3
"""


async def alerts(pool: asyncpg.Pool[asyncpg.Record], account: str, *, before: int | None, limit: int) -> AlertsAnswer:
    """At most `limit` alerts, newest first.

    :param before: the cursor of an earlier answer, to go on where it ended.
    """
    rows = await pool.fetch(_ALERTS, account, before, limit + 1)
    shown = rows[:limit]
    more = len(rows) > limit
    return AlertsAnswer(
        account=account,
        alerts=[AlertView.model_validate(dict(row)) for row in shown],
        next=str(shown[-1]["seq"]) if more else None,
    )
