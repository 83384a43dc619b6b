"""GET /events and GET /shares/{id}/events: server-sent events of what happens to shares."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from millrace.contracts.api import Problem
from services.api_gateway.listeners import Listener, Told
from services.api_gateway.resources import Parts
from services.api_gateway.watcher import Watcher
from services.api_gateway.who import Who

router = APIRouter(tags=["shares"])

_MARK: Final = re.compile(r"[0-9]{1,18}")
_COME_AGAIN: Final = b"retry: 2000\n\n"
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
_STREAM: Final[dict[int | str, dict[str, object]]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events until one leaves"},
}
LastEventId = Annotated[
    str | None, Header(description="Of the last event that was read, by a reader who comes again")
]


class EventStream(StreamingResponse):
    """Ends when its reader has left, also while there is nothing to send."""

    media_type = "text/event-stream"

    def __init__(self, watcher: Watcher, listener: Listener, first: Sequence[Told]) -> None:
        super().__init__(_events(listener, first, watcher.heart_beat_s), headers=_HEADERS)
        self._watcher = watcher
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until either side ends it."""
        del scope  # uvicorn does not tell who sends that the reader has left: it is what is received then
        sending = asyncio.create_task(self.stream_response(send))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        try:
            done, _ = await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending in done:
                sending.result()
        finally:
            self._watcher.leave(self._listener)
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait((sending, leaving))


async def _events(listener: Listener, first: Sequence[Told], heart_beat_s: float) -> AsyncIterator[bytes]:
    yield _COME_AGAIN + b"".join(told.encoded() for told in first)
    while True:
        try:
            async with asyncio.timeout(heart_beat_s):
                await listener.wait()
        except TimeoutError:
            yield b": still here\n\n"
            continue
        for told in listener.take():
            yield told.encoded()
            if told.event == "gone" and listener.share_id is not None:
                return
        if listener.closed:
            return


@router.get("/events", response_class=StreamingResponse, responses=_STREAM)
async def all_events(parts: Parts, who: Who, last_event_id: LastEventId = None) -> EventStream:
    """All one's own shares: `share` with a row as in the list whenever one has changed.

    `gone` names one that is not there any more.
    A reader who comes again with `Last-Event-ID` is told first of those that have changed meanwhile, 400 at most.
    Comments every 15 s keep the connection open.
    """
    listener = await parts.watcher.join(who.owner)
    try:
        known = _MARK.fullmatch(last_event_id or "")
        first = [] if known is None else await parts.watcher.since(who.owner, int(known[0]))
    except BaseException:
        parts.watcher.leave(listener)
        raise
    return EventStream(parts.watcher, listener, first)


@router.get(
    "/shares/{share_id}/events",
    response_class=StreamingResponse,
    responses={**_STREAM, 404: {"model": Problem, "description": "No such share"}},
)
async def share_events(share_id: str, parts: Parts, who: Who, last_event_id: LastEventId = None) -> EventStream:
    """One share: `share` with what `GET /shares/{share_id}` gives, at once and whenever it has changed.

    `gone` when it is not there any more, which ends the stream. A reader who comes again with `Last-Event-ID` is told
    at once only if something has changed. Comments every 15 s keep the connection open.
    """
    listener = await parts.watcher.join(who.owner, share_id)
    try:
        now = await parts.watcher.share(share_id, who.owner)
        listener.knows(now.mark)
    except BaseException:
        parts.watcher.leave(listener)
        raise
    return EventStream(parts.watcher, listener, [] if now.mark == last_event_id else [now])
