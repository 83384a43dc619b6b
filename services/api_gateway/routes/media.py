"""GET /shares/{id}/media."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Response, status
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from millrace.contracts.api import Problem
from millrace.store.blobs import BeyondEnd, Part
from services.api_gateway.media_file import Media, find_media, sent_by
from services.api_gateway.problems import problem
from services.api_gateway.representation import attachment
from services.api_gateway.resources import Parts
from services.api_gateway.who import Who

router = APIRouter(tags=["shares"])

_BYTES: Final = {
    kind: {"schema": {"type": "string", "format": "binary"}}
    for kind in ("audio/*", "video/*", "image/*", "application/octet-stream")
}


@dataclass(frozen=True)
class Sent:
    """What a request is answered with."""

    media: Media
    content: Path | Part


class WholeResponse(FileResponse):
    """Sends the file, or ranges of it where one request asks for several (RFC 9110, 14).

    Ranges that there are not are refused by a problem document.
    """

    def __init__(self, media: Media, path: Path) -> None:
        super().__init__(path, media_type=media.content_type, headers=_headers(media))

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
            answer = _beyond(dict(refused[0]["headers"])[b"content-range"].decode())
        await answer(scope, receive, send)


def _part(media: Media, part: Part) -> Response:
    headers = {
        **_headers(media),
        "accept-ranges": "bytes",
        "content-range": f"bytes {part.start}-{part.stop - 1}/{part.size}",
        "content-length": str(part.stop - part.start),
    }
    return StreamingResponse(
        part.chunks, status.HTTP_206_PARTIAL_CONTENT, media_type=media.content_type, headers=headers
    )


def _headers(media: Media) -> dict[str, str]:
    name = PurePath(media.name)
    kept = attachment(name.stem, name.suffix.removeprefix(".") or "bin")
    headers = {
        "content-disposition": kept.replace("attachment", media.disposition, 1),
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",  # a stranger's bytes are no page, whatever they look like
    }
    if media.etag is not None:
        headers["etag"] = media.etag
    return headers


def _beyond(content_range: str) -> JSONResponse:
    answer = problem(416, "Range not satisfiable", "The media is shorter than the range that was asked for.")
    answer.headers["content-range"] = content_range
    return answer


async def _sent(
    share_id: str,
    parts: Parts,
    who: Who,
    asked: Annotated[str | None, Header(alias="range", description="As in `bytes=0-1023`")] = None,
    if_range: Annotated[str | None, Header(description="Of this `ETag` only, and else all of it")] = None,
) -> AsyncIterator[Sent | BeyondEnd]:
    # A dependency is left when the answer was sent, or could not be: so long the content is lent.
    media = await find_media(parts.pool, parts.catalog, share_id, who.owner)
    async with AsyncExitStack() as stack:
        wanted = media.wanted(asked, if_range)
        try:
            content = await stack.enter_async_context(sent_by(parts.blobs, media, wanted, share_id))
        except BeyondEnd as exc:
            yield exc
            return
        yield Sent(media, content)


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
async def get_media(sent: Annotated[Sent | BeyondEnd, Depends(_sent)]) -> Response:
    """What was shared or fetched, for a player: whole, or by `Range`. Fetched media expires.

    `If-Range` takes the `ETag`, which is that of the content.
    """
    if isinstance(sent, BeyondEnd):
        return _beyond(f"bytes */{sent.size}")
    if isinstance(sent.content, Part):
        return _part(sent.media, sent.content)
    return WholeResponse(sent.media, sent.content)
