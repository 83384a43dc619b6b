"""GET /shares/{id}/duplicates and GET /digest."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query

from millrace.contracts.api import Moment, Problem
from millrace.contracts.insight_api import DigestAnswer, DuplicatesAnswer
from services.api_gateway.duplicates import LEAST_COSINE, LEAST_JACCARD
from services.api_gateway.errors import BadPeriod
from services.api_gateway.resources import Parts
from services.api_gateway.who import Who

router = APIRouter(tags=["insight"])

_A_WEEK: Final = timedelta(days=7)


@router.get("/shares/{share_id}/duplicates", responses={404: {"model": Problem, "description": "No such share"}})
async def duplicates(
    *,
    parts: Parts,
    who: Who,
    share_id: str,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    least_jaccard: Annotated[
        float, Query(ge=LEAST_JACCARD, le=1, description="Share of the word pairs that both have, at least")
    ] = LEAST_JACCARD,
    least_cosine: Annotated[
        float, Query(ge=0, le=1, description="Cosine of the mean vectors, at least")
    ] = LEAST_COSINE,
) -> DuplicatesAnswer:
    """Find other shares that say nearly the same: by the same words, by their vectors, or both."""
    return await parts.duplicates.of(
        share_id, owner=who.owner, limit=limit, least_jaccard=least_jaccard, least_cosine=least_cosine
    )


@router.get("/digest")
async def digest(
    *,
    parts: Parts,
    who: Who,
    since: Annotated[Moment | None, Query(description="Shared from then on; by default a week before")] = None,
    until: Annotated[Moment | None, Query(description="Shared before; by default until now")] = None,
    limit: Annotated[int, Query(ge=1, le=2000, description="Shares shown of each topic, and of those in none")] = 10,
) -> DigestAnswer:
    """What was shared in a period, by topic: the newest 2,000 shares, grouped by their vectors. It costs nothing."""
    end = until or parts.clock.now()
    try:
        begin = since or end - _A_WEEK
    except OverflowError as exc:
        raise BadPeriod("The period begins before the year 1.") from exc
    if begin >= end:
        raise BadPeriod("The period is empty: since is not before until.")
    return await parts.digests.digest(who.owner, begin, end, limit=limit)
