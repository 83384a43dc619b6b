"""How much a request may bring. Shares are received piece by piece under limits of their own; all else is small."""

from __future__ import annotations

from collections import deque
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api_gateway.errors import TooLarge
from services.api_gateway.problems import problem

LARGEST_BYTES: Final = 256 << 10
_RECEIVED_IN_PIECES: Final = "/shares"


class SmallBodies:
    """ASGI middleware that reads a body before anything is done about it, and refuses one that is too large."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is small enough."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) == ("POST", _RECEIVED_IN_PIECES):
            await self._app(scope, receive, send)
            return
        try:
            body = await _received(receive)
        except TooLarge as exc:
            await problem(exc.status, exc.title, str(exc), instance=scope["path"])(scope, receive, send)
            return

        async def again() -> Message:
            return body.popleft() if body else await receive()

        await self._app(scope, again, send)


async def _received(receive: Receive) -> deque[Message]:
    """The messages of a body, to its end or to where the sender went away.

    :raises TooLarge: there is more of it than anything here takes.
    """
    found: deque[Message] = deque()
    left = LARGEST_BYTES
    while True:
        message = await receive()
        found.append(message)
        left -= len(message.get("body", b""))
        if left < 0:
            raise TooLarge(f"The body is larger than the {LARGEST_BYTES >> 10} KiB that this address takes.")
        if message["type"] != "http.request" or not message.get("more_body", False):
            return found
