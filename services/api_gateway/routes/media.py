"""GET /shares/{id}/media."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import PurePath
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from millrace.contracts.api import Problem
from services.api_gateway.media_file import MediaFile, media_file
from services.api_gateway.problems import problem
from services.api_gateway.representation import attachment
from services.api_gateway.resources import Parts
from services.api_gateway.who import Who

router = APIRouter(tags=["shares"])

_BYTES: Final = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in ("audio/*", "video/*", "image/*", "application/octet-stream")
}


class MediaResponse(FileResponse):
    """Sends the file or ranges of it (RFC 9110, 14); ranges that there are not are refused by a problem document."""

    def __init__(self, media: MediaFile) -> None:
        name = PurePath(media.name)
        kept = attachment(name.stem, name.suffix.removeprefix(".") or "bin")
        headers = {
            "content-disposition": kept.replace("attachment", media.disposition, 1),
            "cache-control": "private, no-cache",
            "x-content-type-options": "nosniff",  # a stranger's bytes are no page, whatever they look like
        }
        if media.etag is not None:
            headers["etag"] = media.etag
        super().__init__(media.path, media_type=media.content_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        refused: list[Message] = []

        async def watched(message: Message) -> None:
            if refused or (message["type"] == "http.response.start" and message["status"] in (400, 416)):
                refused.append(message)
            else:
                await send(message)

        await super().__call__(scope, receive, watched)
        if not refused:
            return
        if refused[0]["status"] == 400:
            answer = problem(400, "Not a range", "The Range header cannot be read: ask as in `bytes=0-1023`.")
        else:
            answer = problem(416, "Range not satisfiable", "The media is shorter than the range that was asked for.")
            answer.headers["content-range"] = dict(refused[0]["headers"])[b"content-range"].decode()
        await answer(scope, receive, send)


async def _media(share_id: str, parts: Parts, who: Who) -> AsyncIterator[MediaFile]:
    # A dependency is left when the answer was sent, or could not be: so long the file is lent.
    async with media_file(parts.pool, parts.blobs, parts.catalog, share_id, who.owner) as found:
        yield found


@router.get(
    "/shares/{share_id}/media",
    response_class=FileResponse,
    responses={
        200: {"content": _BYTES, "description": "The whole media"},
        206: {"content": _BYTES, "description": "The ranges that were asked for"},
        404: {"model": Problem, "description": "No such share, or it has no media (any more); `detail` says why"},
        409: {"model": Problem, "description": "The media is not there yet"},
        416: {"model": Problem, "description": "The media is shorter than that"},
        503: {"model": Problem, "description": "The database or the media store is away"},
    },
)
async def get_media(media: Annotated[MediaFile, Depends(_media)]) -> MediaResponse:
    """What was shared or fetched, for a player: whole, or by `Range`. Fetched media expires.

    `If-Range` takes the `ETag`, which is that of the content.
    """
    return MediaResponse(media)
