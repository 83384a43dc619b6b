"""How many requests are answered at once. More are told to come again, as a problem document like every refusal.

uvicorn's own limit counts connections that nobody uses, knows no difference between a search and a stream that has no
end, and says so in plain text.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from services.api_gateway.problems import problem

MOST_REQUESTS: Final = 300
"""Each has a socket and may have a file (an upload, media). Beside as many streams, and what the gateway itself has
open, they fit into the 1,024 files that systems give a process; ten at a time get a connection to PostgreSQL."""
MOST_STREAMS: Final = 300
"""Of all owners, each with a socket."""
_STREAM: Final = "/events"
_ALWAYS: Final = frozenset({"/healthz", "/readyz"})
"""A gateway that is busy is not to be taken for one that is dead."""
_RETRY_AFTER_S: Final = "2"


class Crowd:
    """ASGI middleware that lets so many in. It is outside of whatever waits for a body."""

    def __init__(self, app: ASGIApp, requests: int = MOST_REQUESTS, streams: int = MOST_STREAMS) -> None:
        self._app = app
        self._left = {"requests": requests, "streams": streams}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what there is room for."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        kind = "streams" if scope["path"].endswith(_STREAM) else "requests"
        if self._left[kind] <= 0:
            answer = problem(503, "Too much at once", f"There are as many {kind} as can be answered; try again soon.")
            answer.headers["retry-after"] = _RETRY_AFTER_S
            await answer(scope, receive, send)
            return
        self._left[kind] -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._left[kind] += 1
