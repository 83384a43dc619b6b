"""How many requests are answered at once."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from millrace.contracts.api import PROBLEM, Problem
from services.api_gateway.crowd import Crowd
from tests.support.waiting import eventually


class Slow:
    """Answers once it is let; `inside` are the paths that wait."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.let = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.inside.append(scope["path"])
        await self.let.wait()
        if scope["path"] == "/broken":
            raise RuntimeError("a fault")
        await PlainTextResponse("done")(scope, receive, send)


def refused(response: httpx.Response) -> bool:
    if response.status_code != 503:
        return False
    assert response.headers["content-type"] == PROBLEM
    assert int(response.headers["retry-after"]) > 0
    assert "try again" in Problem.model_validate(response.json()).detail
    return True


async def asked(http: httpx.AsyncClient, slow: Slow, *paths: str) -> list[asyncio.Task[httpx.Response]]:
    """Requests that are under way."""
    tasks = [asyncio.create_task(http.get(path)) for path in paths]
    await eventually(lambda: len(slow.inside) == len(paths), "all of them", every_s=0)
    return tasks


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def http(slow: Slow) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(Crowd(slow, 2, 1)), base_url="http://localhost")


async def test_more_requests_than_there_is_room_for_are_told_to_come_again(
    http: httpx.AsyncClient, slow: Slow
) -> None:
    under_way = await asked(http, slow, "/search", "/shares")
    assert refused(await http.get("/digest"))
    slow.let.set()
    assert [(await task).status_code for task in under_way] == [200, 200]
    assert (await http.get("/digest")).status_code == 200


async def test_streams_and_requests_take_no_room_from_one_another(http: httpx.AsyncClient, slow: Slow) -> None:
    under_way = await asked(http, slow, "/events", "/search", "/shares")
    assert refused(await http.get("/shares/x/events"))
    slow.let.set()
    assert [(await task).status_code for task in under_way] == [200, 200, 200]


async def test_a_busy_gateway_still_says_that_it_lives(http: httpx.AsyncClient, slow: Slow) -> None:
    under_way = await asked(http, slow, "/search", "/shares", "/healthz", "/readyz")
    slow.let.set()
    assert [(await task).status_code for task in under_way] == [200] * 4


async def test_what_breaks_or_is_given_up_leaves_its_room(http: httpx.AsyncClient, slow: Slow) -> None:
    broken, given_up = await asked(http, slow, "/broken", "/search")
    given_up.cancel()
    slow.let.set()
    with pytest.raises(RuntimeError, match="a fault"):
        await broken
    assert [(await http.get("/shares")).status_code for _ in range(3)] == [200] * 3
    two = asyncio.gather(http.get("/a"), http.get("/b"))
    assert [response.status_code for response in await two] == [200, 200]
