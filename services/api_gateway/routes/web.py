"""GET / and GET /static/…: the web page. It is for everybody; what it shows it asks of the API, which is not."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response, status

from services.api_gateway.errors import NotFound
from services.api_gateway.web_files import WebFile, matches, read_files, takes_gzip

router = APIRouter(include_in_schema=False)

# The last one: nothing on the page can make markup of a text, whoever wrote it.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
_HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # kept, but asked about: a new version is seen at once, an old one costs a 304
    "vary": "accept-encoding",
}


@cache
def files() -> dict[str, WebFile]:
    """The page's files; read once, when the application is made."""
    return read_files()


@router.api_route("/", methods=["GET", "HEAD"])
async def page(
    accept_encoding: Annotated[str | None, Header()] = None, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """The page itself; everything else on it comes from /static."""
    return _answer("index.html", accept_encoding, if_none_match)


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static(
    path: str,
    accept_encoding: Annotated[str | None, Header()] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """A script, a style or a picture of the page."""
    return _answer(f"static/{path}", accept_encoding, if_none_match)


def _answer(path: str, accept_encoding: str | None, if_none_match: str | None) -> Response:
    file = files().get(path)
    if file is None:
        raise NotFound("The page has no such file.")
    body, etag, encoding = file.encoded(gzipped=takes_gzip(accept_encoding))
    headers = {**_HEADERS, "etag": etag}
    if matches(if_none_match, etag):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    if encoding is not None:
        headers["content-encoding"] = encoding
    return Response(body, media_type=file.media_type, headers=headers)
