"""Who sends a request, as routes ask for it: `Who` for anybody who is signed in, `Admin` for admins alone."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.api_gateway.errors import NotSignedIn
from services.api_gateway.principal import Principal, local_admin
from services.api_gateway.resources import Parts

_COOKIE: Final = "millrace_session"
_TOKEN: Final = HTTPBearer(
    bearerFormat="JWT", description="A token (`millrace token`); the page has a cookie instead", auto_error=False
)


def cookie_of(request: Request) -> str:
    """The name of the cookie that this gateway's page has its session in.

    By port, which browsers do not tell apart: each of two gateways on one machine has its own.
    """
    try:
        port = request.url.port
    except ValueError:  # a Host header may say anything
        port = None
    return _COOKIE if port is None else f"{_COOKIE}_{port}"


async def signed_in(
    request: Request, parts: Parts, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_TOKEN)] = None
) -> Principal:
    """Whoever sends this request: by the header Authorization, or by the page's cookie.

    :param _: is read by hand, with the cookie; so /docs knows which addresses ask for it.

    :raises NotSignedIn: nobody knows.
    :raises TooMany: they have sent too many.
    """
    who = await _known(request, parts)
    if parts.rate is not None:
        await parts.rate.count(who.owner)
    return who


async def _known(request: Request, parts: Parts) -> Principal:
    if parts.sign_in is None:
        return local_admin(parts.owner)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        token = request.cookies.get(cookie_of(request), "")
    if not token.strip():
        raise NotSignedIn(
            "Sign in first: send a token (`millrace token` makes one) as Authorization: Bearer. Commands take it "
            "from MILLRACE_TOKEN."
        )
    return await parts.sign_in.principal(token.strip())


def admin(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """The same, if it is an admin.

    :raises NotAllowed: it is not.
    """
    who.must_be_admin()
    return who


Who = Annotated[Principal, Depends(signed_in)]
Admin = Annotated[Principal, Depends(admin)]
