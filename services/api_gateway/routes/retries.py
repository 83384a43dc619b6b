"""POST /shares/{id}/retry and POST /shares/{id}/stages/{stage}."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, status

from millrace.contracts.api import Problem
from millrace.contracts.share_api import RetryAnswer, StageWish
from services.api_gateway.resources import Parts, known
from services.api_gateway.shares import check_key
from services.api_gateway.who import Who

router = APIRouter(tags=["shares"])

_NONE = {"model": Problem, "description": "No such share, or it has no such stage"}
_NOT_NOW = {"model": Problem, "description": "What the stage reads is not there, or cannot be made again"}


@router.post("/shares/{share_id}/retry", responses={404: _NONE, 409: _NOT_NOW})
async def retry_share(share_id: str, parts: Parts, who: Who) -> RetryAnswer:
    """Try the stages again that failed or were cancelled; `stages` names them. May be repeated.

    What is finished is not done again, and what was paid for is not paid again.
    """
    return await parts.retries.retry(share_id, who)


@router.post(
    "/shares/{share_id}/stages/{stage}",
    status_code=status.HTTP_202_ACCEPTED,
    responses={404: _NONE, 409: _NOT_NOW},
)
async def request_stage(
    *,
    share_id: str,
    stage: str,
    wish: StageWish,
    parts: Parts,
    who: Who,
    idempotency_key: Annotated[
        str | None, Header(description="The same key with the same wish is one request, however often it is sent")
    ] = None,
) -> RetryAnswer:
    """Let one stage work on the share once more: with another `model` or `chunker`, or by `force` anew.

    The same work costs nothing: its result is told again. Other work, and anything with `force`, is paid for.
    """
    known(stage, parts.catalog.stages, "stage")
    check_key(idempotency_key)
    return await parts.retries.request(share_id, stage, wish, who, idempotency_key=idempotency_key)
