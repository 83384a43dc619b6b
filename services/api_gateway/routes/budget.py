"""GET /budget, and what is asked of the ledger by people: caps, and calls whose outcome nobody knows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from millrace.contracts.api import Problem
from millrace.contracts.budget_api import (
    BudgetAnswer,
    BudgetScope,
    CapChange,
    CapRequest,
    CapsAnswer,
    Reconciled,
    ReconcileRequest,
    UnconfirmedAnswer,
)
from millrace.contracts.events import DEFAULT_ACCOUNT
from millrace.text import has_nul
from services.api_gateway.budget import budget
from services.api_gateway.errors import NotFound
from services.api_gateway.resources import Parts, known
from services.api_gateway.who import Admin, Who

router = APIRouter(tags=["budget"])

_Account = Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
_UNKNOWN = {"model": Problem, "description": "Not a cap that can be set"}
_SILENT = {"model": Problem, "description": "The ledger or the database does not answer; asking again is safe"}


@router.get("/budget")
async def show_budget(parts: Parts, who: Who, account: Annotated[str, _Account] = DEFAULT_ACCOUNT) -> BudgetAnswer:
    """Spend of this hour and this day (UTC) by scope, against the caps that the ledger enforces."""
    who.must_have_account(account)
    return await budget(parts.pool, account, parts.clock.now())


@router.get("/budget/caps")
async def show_caps(parts: Parts, who: Who, account: Annotated[str, _Account] = DEFAULT_ACCOUNT) -> CapsAnswer:
    """The caps that hold for an account: its own, and those of `default` where it has none."""
    who.must_have_account(account)
    return await parts.caps.in_force(account)


@router.put("/budget/caps/{scope}", responses={422: _UNKNOWN, 503: _SILENT})
async def change_cap(scope: BudgetScope, wish: CapRequest, parts: Parts, _: Admin) -> CapChange:
    """Set a cap; answers once the ledger has decided.

    A lowered cap takes back nothing that was granted. Work that waits for a cap which is raised goes on at once. The
    cap stays until it is set again or the budgets file says something new about it.
    """
    known(scope, parts.catalog.scopes, "scope")
    return await parts.caps.change(scope, wish)


@router.get("/budget/unconfirmed", responses={400: {"model": Problem, "description": "Not a cursor of this list"}})
async def show_unconfirmed(
    parts: Parts,
    _: Admin,
    account: Annotated[str | None, _Account] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> UnconfirmedAnswer:
    """Calls that may have been billed, oldest first; their holds stay charged until they are reconciled."""
    return await parts.unconfirmed.page(account, cursor, limit)


@router.post(
    "/budget/unconfirmed/{request_id:path}",
    responses={
        404: {"model": Problem, "description": "No such call"},
        409: {"model": Problem, "description": "It is not unconfirmed, or was reconciled at another amount"},
        503: _SILENT,
    },
)
async def reconcile(request_id: str, wish: ReconcileRequest, parts: Parts, _: Admin) -> Reconciled:
    """Say what an unconfirmed call really cost; answers once the ledger has decided, and may be repeated."""
    if has_nul(request_id):
        raise NotFound("The ledger has no call with this request id.")
    return await parts.unconfirmed.reconcile(request_id, wish)
