"""Who may speak to the gateway through a browser: known host names only, and pages of its own only.

A gateway on loopback trusts its machine, but every page in that machine's browser could reach it too: by a name of
its own that resolves to 127.0.0.1 (DNS rebinding), or by a form that posts across sites.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api_gateway.errors import Forbidden, RequestRefused, WrongHost
from services.api_gateway.problems import problem

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ANY_HOST = "*"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_ELSEWHERE = frozenset({"cross-site", "same-site"})  # of another port, too: browsers send it the same cookies
_PLACES = frozenset({"/", "/docs"})
_NO_FRAME = (b"x-frame-options", b"DENY")


def host_name(host: str) -> str | None:
    """The name in a Host header, lower-case, without port and brackets; None when it cannot be read."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def same_site(origin: str, host: str) -> bool:
    """Whether an Origin header names the host that was asked; one that cannot be read does not."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def check(
    method: str,
    host: str,
    origin: str | None,
    allowed: Collection[str],
    *,
    path: str = "/",
    site: str | None = None,
    mode: str | None = None,
) -> None:
    """Let a request through, or not.

    :param site: the header Sec-Fetch-Site, which browsers set and pages cannot.
    :param mode: the header Sec-Fetch-Mode.
    :raises WrongHost: `host` is not one of `allowed`.
    :raises Forbidden: a changing request with the `origin` of another site, or any that a page of another site makes:
        also what only reads may cost money, as a search does. Links to the page and to /docs are followed. Programs
        send none of these headers.
    """
    if ANY_HOST not in allowed and host_name(host) not in allowed:
        raise WrongHost(
            "This gateway does not answer under that host name; MILLRACE_ALLOWED_HOSTS names those it has."
        )
    if method not in _SAFE and origin is not None and not same_site(origin, host):
        raise Forbidden("Pages of other sites may not send this.")
    if site in _ELSEWHERE and not (mode == "navigate" and path in _PLACES):
        raise Forbidden("Pages of other sites may not ask for this.")


class Guard:
    """ASGI middleware around `check`."""

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                check(
                    scope["method"],
                    headers.get("host", ""),
                    headers.get("origin"),
                    self._allowed,
                    path=scope["path"],
                    site=headers.get("sec-fetch-site"),
                    mode=headers.get("sec-fetch-mode"),
                )
            except RequestRefused as exc:
                await problem(exc.status, exc.title, str(exc))(scope, receive, _unframed(send))
                return
        await self._app(scope, receive, _unframed(send))


def _unframed(send: Send) -> Send:
    """Nothing of ours is shown within a page of others, where a click could be led onto it."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), _NO_FRAME]}
        await send(message)

    return sending
