"""How much a request may bring. Shares are received piece by piece under limits of their own; all else is small."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api_gateway.errors import TooLarge
from services.api_gateway.problems import problem

LARGEST_BYTES: Final = 256 << 10
_WITHIN_S: Final = 30.0
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
            async with asyncio.timeout(_WITHIN_S):
                first = await _received(receive)
        except TooLarge as exc:
            await problem(exc.status, exc.title, str(exc), instance=scope["path"])(scope, receive, send)
            return
        except TimeoutError:
            late = f"The body did not come within {_WITHIN_S:.0f} s; send it again."
            await problem(408, "Too slow", late, instance=scope["path"])(scope, receive, send)
            return
        waiting = [first]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, again, send)


async def _received(receive: Receive) -> Message:
    """All of a body in one message, or that the sender went away. However small its pieces, it takes no more memory.

    :raises TooLarge: there is more of it than anything here takes.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > LARGEST_BYTES:
            raise TooLarge(f"The body is larger than the {LARGEST_BYTES >> 10} KiB that this address takes.")
        if not message.get("more_body", False):
            return {"type": "http.request", "body": bytes(body), "more_body": False}
