"""GET /search."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from millrace.contracts.api import Moment, Problem
from millrace.contracts.events import DEFAULT_ACCOUNT, SourceKind
from millrace.contracts.search_api import SearchAnswer, SearchMode
from millrace.contracts.share_api import ContentType
from millrace.text import has_nul
from services.api_gateway.errors import BadRequest, NotFound
from services.api_gateway.filters import Filters
from services.api_gateway.resources import Parts
from services.api_gateway.who import Who

router = APIRouter(tags=["search"])

_MINE = "SELECT true FROM shares WHERE share_id = $1 AND owner = $2"
_LANGUAGE = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$"


def _filters(
    *,
    kind: Annotated[SourceKind | None, Query(description="Only what was shared as url, upload or text")] = None,
    content_type: Annotated[ContentType | None, Query(description="Only this type of content")] = None,
    since: Annotated[Moment | None, Query(description="Only what was shared from then on")] = None,
    until: Annotated[Moment | None, Query(description="Only what was shared before")] = None,
    language: Annotated[str | None, Query(pattern=_LANGUAGE, description="Only in this language: en, de")] = None,
    category: Annotated[str | None, Query(max_length=100, description="Only with this category")] = None,
    share: Annotated[str | None, Query(max_length=100, description="Only in this share")] = None,
    least_quality: Annotated[float | None, Query(ge=0, le=1, description="Only of this quality or better")] = None,
) -> Filters:
    if any(has_nul(value) for value in (category, share) if value):
        raise BadRequest("A filter is not text.")
    return Filters(kind, content_type, since, until, language, category, share, least_quality=least_quality)


@router.get("/search", responses={400: {"model": Problem, "description": "Not a cursor of this search"}})
async def search(
    *,
    parts: Parts,
    who: Who,
    q: Annotated[str, Query(min_length=1, max_length=1000, description='Words, "a phrase", -without')],
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    mode: Annotated[SearchMode, Query(description="By meaning, by words, or both")] = "hybrid",
    account: Annotated[
        str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", description="Who pays")
    ] = DEFAULT_ACCOUNT,
    filters: Annotated[Filters, Depends(_filters)],
    least_similarity: Annotated[
        float, Query(ge=0, le=1, description="Find by meaning only what is so near: the cosine to the query")
    ] = 0.0,
    two_phase: Annotated[
        bool, Query(description="Find the nearest shares first, then passages in them alone")
    ] = False,
    cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
) -> SearchAnswer:
    """Find passages of shares, page by page, with their moment in media.

    Where the ledger does not grant the query's embedding, words alone are searched, and `note` says why.
    """
    if not q.strip() or has_nul(q):
        raise BadRequest("The query q is empty or not text; give at least one word.")
    who.must_have_account(account)
    return await parts.search.answer(
        q.strip(),
        owner=who.owner,
        account=account,
        limit=limit,
        mode=mode,
        filters=filters,
        least_similarity=least_similarity,
        two_phase=two_phase,
        cursor=cursor,
    )


@router.get("/shares/{share_id}/similar", responses={404: {"model": Problem, "description": "No such share"}})
async def similar(
    *,
    parts: Parts,
    who: Who,
    share_id: str,
    filters: Annotated[Filters, Depends(_filters)],
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> SearchAnswer:
    """Find shares that are about the same as one, each with its nearest passage."""
    if has_nul(share_id) or not await parts.pool.fetchval(_MINE, share_id, who.owner):
        raise NotFound("There is no share with this id.")
    return await parts.search.similar(share_id, owner=who.owner, limit=limit, filters=filters)
