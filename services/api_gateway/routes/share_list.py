"""GET /shares."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from millrace.contracts.api import Problem
from millrace.contracts.share_api import ShareFilter, SharesAnswer
from services.api_gateway.resources import Parts
from services.api_gateway.share_list import shares_page
from services.api_gateway.who import Who

router = APIRouter(tags=["shares"])


@router.get("/shares", responses={400: {"model": Problem, "description": "The cursor is none"}})
async def list_shares(which: Annotated[ShareFilter, Query()], parts: Parts, who: Who) -> SharesAnswer:
    """One's own shares, newest first. `next` is the `cursor` of the page after this one."""
    if which.account is not None:
        who.must_have_account(which.account)
    return await shares_page(parts.pool, parts.catalog, who.owner, which)
