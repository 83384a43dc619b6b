"""GET /events and GET /shares/{id}/events: server-sent events of what happens to shares."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from time import monotonic
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from millrace.contracts.api import Problem
from services.api_gateway.errors import TooMany
from services.api_gateway.listeners import Listener, Told
from services.api_gateway.principal import Principal
from services.api_gateway.resources import Parts, Resources
from services.api_gateway.watcher import Watcher
from services.api_gateway.who import Who

router = APIRouter(tags=["shares"])

_MARK: Final = re.compile(r"[0-9]{1,18}")
MOST_STREAMS: Final = 50
"""Of one owner at each gateway: some tabs, on some machines."""
_LONGEST_S: Final = 3600.0
_COME_AGAIN: Final = b"retry: 2000\n\n"
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
_EVENT: Final = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("event", "id", "data")},
    "description": "Of each event; `data` is JSON",
}
_STREAM: Final[dict[int | str, dict[str, object]]] = {
    200: {"content": {"text/event-stream": {"schema": _EVENT}}, "description": "Events until one leaves"},
}
LastEventId = Annotated[
    str | None, Header(description="Of the last event that was read, by a reader who comes again")
]


class EventStream(StreamingResponse):
    """Ends when its reader has left, also while there is nothing to send."""

    media_type = "text/event-stream"

    def __init__(
        self, watcher: Watcher, listener: Listener, first: Sequence[Told], lasts_s: float, mark: str | None = None
    ) -> None:
        """:param mark: where a reader stands that was told nothing yet."""
        super().__init__(_events(listener, first, watcher.heart_beat_s, lasts_s, mark), headers=_HEADERS)
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


async def _events(
    listener: Listener, first: Sequence[Told], heart_beat_s: float, lasts_s: float, mark: str | None
) -> AsyncIterator[bytes]:
    begin = _COME_AGAIN if mark is None else _COME_AGAIN + f"id: {mark}\n\n".encode()
    yield begin + b"".join(told.encoded() for told in first)
    ends_at = monotonic() + lasts_s
    while monotonic() < ends_at:
        try:
            async with asyncio.timeout(min(heart_beat_s, max(ends_at - monotonic(), 0.0))):
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
    _room(parts, who)
    listener = await parts.watcher.join(who.owner)
    try:
        known = _MARK.fullmatch(last_event_id or "")
        mark = str(await parts.watcher.now())
        first = [] if known is None else await parts.watcher.since(who.owner, int(known[0]))
    except BaseException:
        parts.watcher.leave(listener)
        raise
    return EventStream(parts.watcher, listener, first, _lasts_s(parts, who), mark)


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
    _room(parts, who)
    listener = await parts.watcher.join(who.owner, share_id)
    try:
        now = await parts.watcher.share(share_id, who.owner)
        listener.knows(now.mark)
    except BaseException:
        parts.watcher.leave(listener)
        raise
    first = [] if now.mark == last_event_id else [now]
    return EventStream(parts.watcher, listener, first, _lasts_s(parts, who))


def _room(parts: Resources, who: Principal) -> None:
    if parts.watcher.count(who.owner) >= MOST_STREAMS:
        raise TooMany(f"You read {MOST_STREAMS} streams of events already; close one of them first.", 60)


def _lasts_s(parts: Resources, who: Principal) -> float:
    """No longer than the token; and readers come again, so that who may not any more is found out."""
    left = _LONGEST_S if who.expires_at is None else who.expires_at - parts.clock.now().timestamp()
    return min(left, _LONGEST_S)
