"""Who may speak to the gateway through a browser: known host names only, and pages of its own only.

A gateway on loopback trusts its machine, but every page in that machine's browser could reach it too: by a name of
its own that resolves to 127.0.0.1 (DNS rebinding), or by a form that posts across sites.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.api_gateway.errors import Forbidden, RequestRefused, WrongHost
from services.api_gateway.problems import problem

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ANY_HOST = "*"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


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


def check(method: str, host: str, origin: str | None, allowed: Collection[str]) -> None:
    """Let a request through, or not.

    :raises WrongHost: `host` is not one of `allowed`.
    :raises Forbidden: a changing request with the `origin` of another site; programs send none.
    """
    if ANY_HOST not in allowed and host_name(host) not in allowed:
        raise WrongHost(
            "This gateway does not answer under that host name; MILLRACE_ALLOWED_HOSTS names those it has."
        )
    if method not in _SAFE and origin is not None and not same_site(origin, host):
        raise Forbidden("Pages of other sites may not send this.")


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
                check(scope["method"], headers.get("host", ""), headers.get("origin"), self._allowed)
            except RequestRefused as exc:
                await problem(exc.status, exc.title, str(exc))(scope, receive, send)
                return
        await self._app(scope, receive, send)
