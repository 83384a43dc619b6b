"""What an account has spent and what is left, from the ledger's journal in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import asyncpg

from millrace.contracts.budget_api import BudgetAnswer, BudgetRow
from millrace.ledger.forecast import exhausted_at
from millrace.money import MicroUSD

# What the views ledger_hourly and ledger_daily say of these two windows; asked for one window, they add up all.
# An account's own cap, also that it has none, goes before that of `default`.
_ROWS = """
WITH spend AS (
  SELECT coalesce(scope, 'total') AS scope, "window", sum(settled_change)::bigint AS settled_micro_usd,
         sum(held_change)::bigint AS held_micro_usd, sum(unconfirmed_change)::bigint AS unconfirmed_micro_usd,
         sum(overrun_change)::bigint AS overrun_micro_usd, sum(calls_change)::bigint AS calls
    FROM (SELECT 'hour' AS "window", * FROM ledger_entries WHERE account = $1 AND hour_start = $2
           UNION ALL
          SELECT 'day', * FROM ledger_entries WHERE account = $1 AND day_start = $3) AS entries
   GROUP BY GROUPING SETS (("window", scope), ("window"))
), caps AS (
  SELECT DISTINCT ON (scope, "window") scope, "window", cap_micro_usd, mode
    FROM ledger_caps WHERE account IN ($1, 'default') ORDER BY scope, "window", (account = $1) DESC
)
SELECT scope, "window", cap_micro_usd, mode, coalesce(settled_micro_usd, 0) AS settled_micro_usd,
       coalesce(held_micro_usd, 0) AS held_micro_usd, coalesce(unconfirmed_micro_usd, 0) AS unconfirmed_micro_usd,
       coalesce(overrun_micro_usd, 0) AS overrun_micro_usd, coalesce(calls, 0) AS calls
  FROM spend FULL JOIN caps USING (scope, "window")
 ORDER BY scope, "window" DESC
"""
_NOTHING = "The cost ledger has recorded nothing yet: neither caps nor spend. Is it running?"


async def budget(pool: asyncpg.Pool[asyncpg.Record], account: str, now: datetime) -> BudgetAnswer:
    """Every scope with a cap or with spend, for the hour and the day (UTC) that `now` lies in."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    windows = {"hour": (hour, hour + timedelta(hours=1)), "day": (day, day + timedelta(days=1))}
    rows = [
        BudgetRow.model_validate(
            {
                **dict(row),
                "account": account,
                "start": windows[row["window"]][0],
                "left_micro_usd": left(dict(row)),
                "exhausted_at": _forecast(dict(row), *windows[row["window"]], now),
            }
        )
        for row in await pool.fetch(_ROWS, account, hour, day)
    ]
    return BudgetAnswer(account=account, as_of=now, rows=rows, note=None if rows else _NOTHING)


def left(row: Mapping[str, int | None]) -> MicroUSD | None:
    """What the ledger could still grant in a window; None without a cap, and never below zero."""
    cap = row["cap_micro_usd"]
    if cap is None:
        return None
    return MicroUSD(max(0, cap - _used(row)))


def _used(row: Mapping[str, int | None]) -> int:
    return sum(row[f"{part}_micro_usd"] or 0 for part in ("settled", "held", "unconfirmed"))  # overrun is settled too


def _forecast(row: Mapping[str, int | None], start: datetime, end: datetime, now: datetime) -> datetime | None:
    return exhausted_at(start, end, now, used=_used(row), cap=row["cap_micro_usd"], calls=row["calls"] or 0)
