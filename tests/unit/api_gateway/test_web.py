"""The page's files over HTTP, and what must never stand in them."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from services.api_gateway import problems
from services.api_gateway.routes import web
from services.api_gateway.web_files import MEDIA_TYPES, WEB, matches, read_files, takes_gzip

FILES = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*") if path.is_file())
OWN = [path for path in FILES if "vendor" not in path]
SCRIPTS = [path for path in OWN if path.endswith(".js")]
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|eval\("
    r"|new Function"
)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    app.include_router(web.router)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("path", FILES)
async def test_every_file_is_served_as_what_it_is(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get("/" if path == "index.html" else f"/{path}")
    assert answer.status_code == 200
    assert answer.content == (WEB / path).read_bytes()
    assert answer.headers["content-type"] == MEDIA_TYPES[Path(path).suffix]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_page_allows_nothing_but_its_own_files(http: httpx.AsyncClient) -> None:
    headers = (await http.get("/")).headers
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


async def test_scripts_are_compressed_and_say_so(http: httpx.AsyncClient) -> None:
    async with http.stream("GET", "/static/app.js", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    assert gzip.decompress(raw) == (WEB / "static/app.js").read_bytes()
    plain = await http.get("/static/app.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.headers["etag"] != answer.headers["etag"]


async def test_what_a_browser_has_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get("/")
    again = await http.get("/", headers={"if-none-match": f'"another", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert (await http.get("/", headers={"if-none-match": '"another"'})).status_code == 200


async def test_head_says_the_same_without_a_body(http: httpx.AsyncClient) -> None:
    answer = await http.head("/static/style.css")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "path",
    [
        "../settings.py",
        "..%2fsettings.py",
        "%2e%2e/%2e%2e/settings.py",
        "/etc/passwd",
        "%00",
        "app.js%00",
        "",
        "vendor",
    ],
)
async def test_no_path_leads_elsewhere(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"/static/{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", SCRIPTS)
def test_no_script_makes_markup_of_a_text(path: str) -> None:
    assert MARKUP.findall((WEB / path).read_text()) == []


@pytest.mark.parametrize("path", SCRIPTS)
def test_every_import_leads_to_a_file(path: str) -> None:
    script = WEB / path
    for name in re.findall(r"""(?:from|import\() ?["'](\.[^"']+)["']""", script.read_text()):
        assert (script.parent / name).resolve().relative_to(WEB).as_posix() in FILES, name


def test_the_page_has_no_script_or_style_of_its_own_in_it() -> None:
    page = (WEB / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style| style=| on[a-z]+=", page) == []
    named = re.findall(r'(?:src|href)="/(static/[^"]+)"', page)
    assert len(named) >= 8
    assert set(named) <= set(FILES)


def test_a_file_that_gzip_makes_no_smaller_is_sent_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x")
    body, _, encoding = read_files(tmp_path)["a.txt"].encoded(gzipped=True)
    assert (body, encoding) == (b"x", None)


@pytest.mark.parametrize(
    ("header", "taken"),
    [("gzip, br", True), ("br;q=1, GZIP;q=0.2", True), ("gzip; q=0", False), ("identity", False), (None, False)],
)
def test_who_takes_gzip(header: str | None, *, taken: bool) -> None:
    assert takes_gzip(header) is taken


@pytest.mark.parametrize(
    ("header", "same"), [("*", True), ('W/"a"', True), ('"b", "a"', True), ("a", False), (None, False)]
)
def test_which_tags_match(header: str | None, *, same: bool) -> None:
    assert matches(header, '"a"') is same
