"""An account against its caps: what part of each is used, when it will be used up, and what waits for room."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import BudgetStatusAnswer, BudgetStatusRow, ParkedWork
from millrace.contracts.budget_api import BudgetRow
from millrace.money import MicroUSD
from services.api_gateway.budget import budget
from services.api_gateway.spans import start_of

_MOST_ACCOUNTS: Final = 100
_PARKED: Final = """
SELECT stage, cap, count(*) AS jobs, coalesce(sum(needed_micro_usd), 0)::bigint AS needed_micro_usd,
       min(resume_at) AS resume_at
  FROM jobs WHERE state = 'parked' AND account = $1 GROUP BY stage, cap ORDER BY stage, cap
"""
_ACCOUNTS: Final = """
SELECT DISTINCT account FROM ledger_entries
 WHERE hour_start >= $1 AND scope = ANY ($2) AND calls_change = 1 ORDER BY account LIMIT $3
"""


async def budget_status(
    pool: asyncpg.Pool[asyncpg.Record], account: str, scopes: tuple[str, ...], now: datetime
) -> BudgetStatusAnswer:
    """Every scope of an account with a cap or with spend, in this hour and this day (UTC).

    :param scopes: those that spend, by which accounts with spend are found.
    """
    spent = await budget(pool, account, now)
    parked = await pool.fetch(_PARKED, account)
    accounts = await pool.fetch(_ACCOUNTS, start_of("day", now), list(scopes), _MOST_ACCOUNTS)
    return BudgetStatusAnswer(
        account=account,
        as_of=now,
        rows=[against_cap(row) for row in spent.rows],
        parked=[ParkedWork.model_validate(dict(row)) for row in parked],
        accounts=[row["account"] for row in accounts],
    )


def against_cap(row: BudgetRow) -> BudgetStatusRow:
    """A row with what is used and its part of the cap, rounded down: 100 is reached, not nearly reached.

    Of a cap of nothing all is used.
    """
    used = row.settled_micro_usd + row.held_micro_usd + row.unconfirmed_micro_usd
    cap = row.cap_micro_usd
    percent = None if cap is None else 100 * used // cap if cap else 100
    return BudgetStatusRow(**row.model_dump(), used_micro_usd=MicroUSD(used), percent=percent)
