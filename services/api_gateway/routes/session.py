"""POST and DELETE /session for the page, GET /me for everybody."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response, status

from millrace.contracts.api import Problem
from millrace.contracts.session_api import Me, SignInRequest
from services.api_gateway.resources import Parts
from services.api_gateway.who import Who, cookie_of

router = APIRouter(tags=["sign-in"])


@router.get("/me")
async def me(parts: Parts, who: Who) -> Me:
    """Who you are here: whose shares you see, your roles, the accounts you may charge (null: any)."""
    return Me(
        owner=who.owner,
        roles=sorted(who.roles),
        accounts=None if who.accounts is None else sorted(who.accounts),
        sign_in=parts.sign_in is not None,
    )


@router.post(
    "/session",
    status_code=status.HTTP_204_NO_CONTENT,
    response_class=Response,
    responses={401: {"model": Problem, "description": "The token is not valid"}},
)
async def open_session(wish: SignInRequest, request: Request, response: Response, parts: Parts) -> None:
    """Sign in on the page: a token, or that of a sign-in link, becomes a cookie that no script can read."""
    if parts.sign_in is None:
        return
    session = await parts.sign_in.session(wish.token, of_link=wish.link)
    response.set_cookie(
        cookie_of(request),
        session.token,
        expires=session.expires_at,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


@router.delete("/session", status_code=status.HTTP_204_NO_CONTENT, response_class=Response)
async def close_session(request: Request, response: Response) -> None:
    """Sign out on the page."""
    response.delete_cookie(cookie_of(request), httponly=True, samesite="strict")
