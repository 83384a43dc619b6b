"""GET /budget/alerts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from millrace.contracts.budget_api import AlertsAnswer
from millrace.contracts.events import DEFAULT_ACCOUNT
from services.api_gateway.alerts import alerts
from services.api_gateway.resources import Parts
from services.api_gateway.who import Who

router = APIRouter(tags=["budget"])


@router.get("/budget/alerts")
async def show_alerts(
    parts: Parts,
    who: Who,
    account: Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = DEFAULT_ACCOUNT,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[
        str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next` of the answer before, for what is older")
    ] = None,
) -> AlertsAnswer:
    """Alerts about an account's budgets, newest first: thresholds of 50, 80 and 100 %, overruns, forecasts."""
    who.must_have_account(account)
    before = None if cursor is None else int(cursor)
    return await alerts(parts.pool, account, before=before, limit=limit)
