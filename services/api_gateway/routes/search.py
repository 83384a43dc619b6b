"""GET /search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from millrace.contracts.events import DEFAULT_ACCOUNT
from millrace.contracts.search_api import SearchAnswer, SearchMode
from millrace.text import has_nul
from services.api_gateway.errors import BadRequest
from services.api_gateway.resources import Parts

router = APIRouter(tags=["search"])


@router.get("/search")
async def search(
    parts: Parts,
    q: Annotated[str, Query(min_length=1, max_length=1000, description='Words, "a phrase", -without')],
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    mode: Annotated[SearchMode, Query(description="By meaning, by words, or both")] = "hybrid",
    account: Annotated[
        str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="Who pays")
    ] = DEFAULT_ACCOUNT,
) -> SearchAnswer:
    """Find passages of shares, with their moment in media.

    Where the ledger does not grant the query's embedding, words alone are searched, and `note` says why.
    """
    if not q.strip() or has_nul(q):
        raise BadRequest("The query q is empty or not text; give at least one word.")
    return await parts.search.answer(q.strip(), owner=parts.owner, account=account, limit=limit, mode=mode)
