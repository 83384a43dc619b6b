"""GET /budget."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from millrace.contracts.api import BudgetAnswer
from services.api_gateway.budget import budget
from services.api_gateway.resources import Parts

router = APIRouter(tags=["budget"])


@router.get("/budget")
async def show_budget(
    parts: Parts, account: Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = "default"
) -> BudgetAnswer:
    """Spend of this hour and this day (UTC) by scope, against the caps that the ledger enforces."""
    return await budget(parts.pool, account, parts.clock.now())
