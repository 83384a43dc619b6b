"""GET /shares/{id}/transcript."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response

from millrace.contracts.api import Problem
from millrace.contracts.transcript_api import MEDIA_TYPES, TranscriptDocument, TranscriptFormat
from services.api_gateway.representation import attachment, preferred
from services.api_gateway.resources import Parts
from services.api_gateway.transcripts import transcript_file
from services.api_gateway.who import Who

router = APIRouter(tags=["shares"])

_FILES: Final = {media_type: {"schema": {"type": "string"}} for media_type in list(MEDIA_TYPES.values())[1:]}


@router.get(
    "/shares/{share_id}/transcript",
    response_class=Response,
    responses={
        200: {
            "model": TranscriptDocument,
            "content": _FILES,
            "description": "The transcript as a file, in the format that was asked for",
        },
        404: {"model": Problem, "description": "No such share, or it has no transcript; `detail` says why"},
        409: {"model": Problem, "description": "The transcript is not ready"},
        503: {"model": Problem, "description": "The database or the media store is away"},
    },
)
async def get_transcript(
    share_id: str,
    parts: Parts,
    who: Who,
    kind: Annotated[
        TranscriptFormat | None,
        Query(alias="format", description="By the Accept header, and JSON, when it is not given"),
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """What was said: SubRip or WebVTT for players, text in paragraphs, or JSON with times in seconds.

    Subtitles have at most two lines of 42 characters (16 in Chinese and Japanese) and last at most 7 s.
    """
    chosen = kind or preferred(accept, MEDIA_TYPES)
    file = await transcript_file(parts.pool, parts.blobs, parts.catalog, share_id, owner=who.owner, kind=chosen)
    headers = {
        "content-disposition": attachment(file.title, chosen),
        "vary": "accept",
        "x-content-type-options": "nosniff",  # a stranger's words are no page, whatever they look like
    }
    return Response(file.content, media_type=MEDIA_TYPES[chosen], headers=headers)
