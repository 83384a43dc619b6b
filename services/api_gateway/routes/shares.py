"""POST /shares, GET and DELETE /shares/{id}, POST /shares/{id}/cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response, status

from millrace.contracts.api import Problem
from millrace.contracts.share_api import Accepted, CancelAnswer, ShareRequest, ShareView
from services.api_gateway.projections import share_view
from services.api_gateway.resources import Parts
from services.api_gateway.shares import check_key
from services.api_gateway.who import Who

router = APIRouter(tags=["shares"])

_FILE_FIELD = {
    "file": {"type": "string", "format": "binary", "description": "Audio or video; instead of url and text"}
}


def _bodies() -> dict[str, object]:
    """What POST /shares takes; the body is read by hand, so its description is given by hand."""
    fields = ShareRequest.model_json_schema()
    form = {**fields, "properties": {**_FILE_FIELD, **fields["properties"]}}
    content = {"application/json": {"schema": fields}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/shares",
    status_code=status.HTTP_202_ACCEPTED,
    openapi_extra=_bodies(),
    responses={
        400: {"model": Problem, "description": "The body cannot be read"},
        413: {"model": Problem, "description": "The file or the text is too large"},
        415: {"model": Problem, "description": "Neither JSON nor a form"},
        422: {"model": Problem, "description": "Not a share that can be taken, or the idempotency key was used"},
        503: {"model": Problem, "description": "The database or the media store is away"},
    },
)
async def create_share(
    *,
    request: Request,
    response: Response,
    parts: Parts,
    who: Who,
    idempotency_key: Annotated[
        str | None, Header(description="The same key with the same share is one share, however often it is sent")
    ] = None,
    traceparent: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Accepted:
    """Share a URL, a text or a file: as JSON, or as a form (the only way for a file).

    The share is safe once this answers; its stages run afterwards and can be watched at `href`.
    """
    check_key(idempotency_key)
    draft = await parts.intake.read(request, who.must_have_account)
    accepted = await parts.desk.accept(
        draft, owner=who.owner, idempotency_key=idempotency_key, traceparent=traceparent
    )
    response.headers["location"] = accepted.href
    return accepted


@router.get("/shares/{share_id}", responses={404: {"model": Problem, "description": "No such share"}})
async def get_share(share_id: str, parts: Parts, who: Who) -> ShareView:
    """A share with its stages, its results so far, and a receipt of every model call."""
    return await share_view(parts.pool, parts.blobs, parts.catalog, share_id, who.owner)


@router.post("/shares/{share_id}/cancel", responses={404: {"model": Problem, "description": "No such share"}})
async def cancel_share(share_id: str, parts: Parts, who: Who) -> CancelAnswer:
    """Let no stage of the share begin any more, and stop those that run. May be repeated.

    What was paid for is kept, and results that are there stay. A call of an API that is under way ends first; local
    models are stopped at once. `GET /shares/{share_id}` shows how a stage that is `stopping` has ended.
    """
    return await parts.cancel.cancel(share_id, who.owner)


@router.delete(
    "/shares/{share_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses={404: {"model": Problem, "description": "No such share"}},
)
async def delete_share(share_id: str, parts: Parts, who: Who) -> None:
    """Delete the share and everything that came of it and that no other share needs; may be repeated.

    Its work is cancelled. Its text, transcript, summary, passages, vectors and dead letters are gone when this
    answers, its files and what a worker was still at some time later. What its calls have cost stays in the ledger.
    An admin may delete anybody's.
    """
    await parts.deletions.delete(share_id, who)
