"""Every address of the API, asked by nobody, by a user, by another user and by an admin, over the real database."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from millrace.clock import SystemClock
from millrace.embedded.readyfile import Addresses
from millrace.models.wordllama import WordLlamaModel
from millrace.tokens import LINK, mint
from services.api_gateway.app import create_app
from services.api_gateway.bodies import LARGEST_BYTES
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.rate import RateLimit
from services.api_gateway.sign_in import Checks, SignIn
from tests.integration.gateway import Gateway, open_gateway, provision

SECRET = "of these tests alone, and of nobody else"
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/session"),
    ("DELETE", "/session"),
}
"""What anybody may ask: whether it runs, and to be let in. The page's own files hold nothing of anybody."""
PAGE = ("/static/", "/docs", "/openapi.json", "/")
RESULT = "/api/ml/analytics/{stage}/result/{share_id}"
"""The one address at which an admin sees what somebody else has shared."""
ADMINS = (
    "/budget/unconfirmed",
    "/dead",
    "/api/pipeline",
    "/api/ml/analytics",
    "/api/shares/metrics",
)
NOT_ONLY_ADMINS = ("/api/ml/analytics/health", RESULT)


@dataclass(frozen=True)
class Asked:
    """An address as OpenAPI has it."""

    method: str
    path: str

    @property
    def is_for_admins(self) -> bool:
        if self.path.startswith(NOT_ONLY_ADMINS):
            return False
        return self.path.startswith(ADMINS) or (self.method, self.path) == ("PUT", "/budget/caps/{scope}")

    def url(self, share_id: str) -> str:
        return (
            self.path.replace("{share_id}", share_id)
            .replace("{request_id:path}", "none")
            .replace("{letter_id}", "none")
            .replace("{scope}", "summarize")
            .replace("{stage}", "summarize")
            .replace("{name}", "none")
        )


@dataclass(frozen=True)
class People:
    """A gateway with sign-in, and who asks it."""

    gateway: Gateway
    http: httpx.AsyncClient

    async def ask(self, asked: Asked, token: str | None, share_id: str = "none") -> httpx.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        params = {"q": "anything"} if asked.path == "/search" else None
        return await self.http.request(asked.method, asked.url(share_id), headers=headers, params=params)


def token(subject: str, *, admin: bool = False, accounts: list[str] | None = None, use: str | None = None) -> str:
    return mint(
        SECRET,
        subject=subject,
        roles=["admin"] if admin else ["user"],
        accounts=accounts,
        now=datetime.now(UTC),
        lasts=timedelta(hours=1),
        use=use,
    )


@pytest.fixture(scope="module")
async def people(stack: Addresses, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[People]:
    await provision(stack)
    folder: Path = tmp_path_factory.mktemp("authorisation")
    async with open_gateway(stack, migrated, folder, WordLlamaModel()) as gateway:
        parts = replace(gateway.parts, sign_in=SignIn(SystemClock(), SECRET, None, Checks()))
        transport = httpx.ASGITransport(create_app(parts, LOOPBACK), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as http:
            yield People(gateway, http)


def addresses(gateway: Gateway) -> Iterator[Asked]:
    """All there are, also those that OpenAPI does not show."""
    waiting = list(create_app(gateway.parts, LOOPBACK).routes)
    while waiting:
        route = waiting.pop()
        if isinstance(route, APIRoute):
            yield from (Asked(method, route.path) for method in sorted(route.methods or ()))
        elif (included := getattr(route, "original_router", None)) is not None:
            waiting += included.routes


async def test_nobody_gets_anything_without_a_token_but_the_door(people: People) -> None:
    seen = 0
    for asked in addresses(people.gateway):
        if (asked.method, asked.path) in OPEN or asked.path == "/" or asked.path.startswith(PAGE[:3]):
            continue
        for what in (None, "", "x.y.z", token("ada", use=LINK)):
            response = await people.ask(asked, what)
            assert response.status_code == 401, (asked, response.text)
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["title"] == "Not signed in"
        seen += 1
    assert seen >= 20


async def test_users_get_nothing_that_is_for_admins_and_admins_do(people: People) -> None:
    """Whatever else is wrong with a request, who may not ask hears that first."""
    user, admin, seen = token("ada"), token("root", admin=True), 0
    for asked in addresses(people.gateway):
        if asked.path == "/events":  # has no end; that it asks who is there is seen above
            continue
        response = await people.ask(asked, user)
        if asked.is_for_admins:
            assert (response.status_code, response.json()["title"]) == (403, "Not allowed"), (asked, response.text)
            assert (await people.ask(asked, admin)).status_code not in {401, 403}, asked
            seen += 1
        else:
            assert response.status_code not in {401, 403, 500}, (asked, response.text)
    assert seen >= 8


async def test_a_share_is_its_owners_alone_also_before_an_admin(people: People) -> None:
    ada, bob, root = token("ada"), token("bob"), token("root", admin=True)
    made = await people.http.post(
        "/shares", json={"text": "a secret of ada's"}, headers={"authorization": f"Bearer {ada}"}
    )
    share_id, seen = made.json()["share_id"], 0
    for asked in addresses(people.gateway):
        if "{share_id}" not in asked.path or asked.method not in {"GET", "POST"} or asked.path.endswith("/events"):
            continue
        stranger = await people.ask(asked, bob, share_id)
        nothing = await people.ask(asked, bob, str(uuid.uuid4()))
        assert stranger.status_code == nothing.status_code, (asked, stranger.text)
        assert stranger.status_code in {404, 422}, (asked, stranger.text)
        if asked.path != RESULT:
            assert (await people.ask(asked, root, share_id)).status_code in {404, 422}, asked
        seen += 1
    assert seen >= 4
    assert (await people.ask(Asked("GET", "/shares/{share_id}"), ada, share_id)).json()["owner"] == "ada"


async def test_a_share_is_deleted_by_its_owner_or_an_admin_and_by_nobody_else(people: People) -> None:
    ada, bob, root = token("ada"), token("bob"), token("root", admin=True)
    asked, read = Asked("DELETE", "/shares/{share_id}"), Asked("GET", "/shares/{share_id}")
    for who in (ada, root):
        headers = {"authorization": f"Bearer {ada}"}
        made = await people.http.post("/shares", json={"text": "to be deleted"}, headers=headers)
        share_id = made.json()["share_id"]
        stranger, nothing = [await people.ask(asked, bob, one) for one in (share_id, str(uuid.uuid4()))]
        assert (stranger.status_code, stranger.json()["detail"]) == (404, nothing.json()["detail"])
        assert (await people.ask(asked, None, share_id)).status_code == 401
        assert (await people.ask(read, ada, share_id)).status_code == 200
        assert (await people.ask(asked, who, share_id)).status_code == 204
        assert (await people.ask(read, ada, share_id)).status_code == 404
        assert (await people.ask(asked, bob, share_id)).status_code == 404, "nor is it said that it was there"


async def test_nobody_charges_or_looks_at_an_account_of_others(people: People) -> None:
    headers = {"authorization": f"Bearer {token('ada', accounts=['team'])}"}
    for account, status in (("team", 202), ("default", 403)):
        wish = {"text": "who pays?", "account": account}
        assert (await people.http.post("/shares", json=wish, headers=headers)).status_code == status
    for path in ("/budget", "/budget/caps", "/budget/alerts", "/search?q=x"):
        for account, status in (("team", 200), ("other", 403)):
            joined = f"{path}{'&' if '?' in path else '?'}account={account}"
            assert (await people.http.get(joined, headers=headers)).status_code == status, joined


async def test_the_page_signs_in_with_a_link_and_keeps_what_no_script_can_read(people: People) -> None:
    async with httpx.AsyncClient(transport=people.http._transport, base_url="http://localhost:8080") as browser:
        refused = await browser.post("/session", json={"token": "x.y.z"})
        assert (refused.status_code, refused.headers.get("set-cookie")) == (401, None)
        opened = await browser.post("/session", json={"token": token("ada", admin=True, use=LINK)})
        cookie = opened.headers["set-cookie"].lower()
        assert opened.status_code == 204
        assert cookie.startswith("millrace_session_8080=")
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await browser.get("/me")).json() == {
            "owner": "ada",
            "roles": ["admin"],
            "accounts": None,
            "sign_in": True,
        }
        assert (await browser.delete("/session")).status_code == 204
        assert (await browser.get("/me")).status_code == 401


async def test_another_sites_page_cannot_use_the_cookie(people: People) -> None:
    async with httpx.AsyncClient(transport=people.http._transport, base_url="http://localhost:8080") as browser:
        await browser.post("/session", json={"token": token("ada")})
        evil = {"origin": "https://evil.example"}
        refused = await browser.post("/shares", json={"text": "spent by others"}, headers=evil)
        assert (refused.status_code, refused.json()["title"]) == (403, "Forbidden")


@pytest.mark.parametrize("host", ["localhost:port", "localhost:99999999"])
async def test_a_port_that_is_none_is_no_fault_of_ours(people: People, host: str) -> None:
    assert (await people.http.get("/me", headers={"host": host})).status_code in {400, 401}


async def test_more_requests_than_the_limit_are_told_when_to_come_again(people: People) -> None:
    parts = replace(
        people.gateway.parts,
        sign_in=SignIn(SystemClock(), SECRET, None, Checks()),
        rate=RateLimit("5/hour"),
    )
    transport = httpx.ASGITransport(create_app(parts, LOOPBACK))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        ada, bob = ({"authorization": f"Bearer {token(name)}"} for name in ("ada", "bob"))
        found = [(await http.get("/me", headers=ada)).status_code for _ in range(7)]
        assert found == [200] * 5 + [429] * 2
        refused = await http.get("/me", headers=ada)
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert (await http.get("/me", headers=bob)).status_code == 200


async def test_a_body_that_no_address_takes_is_not_read_to_its_end(people: People) -> None:
    headers = {"authorization": f"Bearer {token('root', admin=True)}"}
    large = await people.http.post("/session", content=b'{"token": "' + b"x" * LARGEST_BYTES + b'"}')
    assert large.status_code == 413

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    piecemeal = await people.http.put("/budget/caps/summarize", content=endless(), headers=headers)
    assert piecemeal.status_code == 413


async def test_a_file_is_kept_only_for_those_who_may_charge_the_account(people: People) -> None:
    folder = people.gateway.parts.intake._folder
    before = {path for path in folder.rglob("*") if path.is_file()}
    ada = {"authorization": f"Bearer {token('ada')}"}
    file = {"file": ("talk.mp3", uuid.uuid4().bytes)}
    refused = await people.http.post("/shares", files=file, data={"account": "other"}, headers=ada)
    assert refused.status_code == 403
    long = await people.http.post("/shares", files=file, headers={**ada, "idempotency-key": "x" * 300})
    assert long.status_code == 422
    assert {path for path in folder.rglob("*") if path.is_file()} == before


async def test_a_page_on_another_port_cannot_search_at_somebodys_cost(people: People) -> None:
    headers = {"authorization": f"Bearer {token('ada')}", "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}
    refused = await people.http.get("/search?q=x", headers=headers)
    assert (refused.status_code, refused.headers["x-frame-options"]) == (403, "DENY")
