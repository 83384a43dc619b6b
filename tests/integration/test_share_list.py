"""GET /shares against the real PostgreSQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from itertools import product
from typing import get_args

import asyncpg
import httpx
import pytest

from millrace.contracts.events import TaskState
from millrace.contracts.share_api import ShareRow, SharesAnswer, ShareState
from millrace.embedded.readyfile import Addresses
from services.api_gateway.domain import share_state
from services.api_gateway.share_list import candidates_sql
from tests.integration.gateway import Gateway

MANY = 100_000


@pytest.fixture(scope="module")
async def crowd(stack: Addresses, migrated: str) -> AsyncIterator[str]:
    """An owner of 100,000 shares, a second apart, all done but every thousandth, of which a stage has failed."""
    owner = f"crowd-{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(migrated)
    try:
        await connection.execute(
            f"""
            INSERT INTO shares (share_id, account, owner, source_kind, platform, content_type, text, created_at)
            SELECT '{owner}-' || n, 'default', '{owner}', 'text', 'web', 'article', 'x', now() - n * interval '1 s'
              FROM generate_series(1, {MANY}) AS n;
            INSERT INTO jobs (share_id, stage, account, state, owner, shared_at)
            SELECT share_id, 'summarize', 'default',
                   CASE WHEN right(share_id, 3) = '000' THEN 'failed' ELSE 'done' END, owner, created_at
              FROM shares WHERE owner = '{owner}';
            ANALYZE shares; ANALYZE jobs;
            """  # noqa: S608  # constants, and a name that was just made
        )
        yield owner
        await connection.execute("DELETE FROM jobs WHERE owner = $1", owner)
        await connection.execute("DELETE FROM shares WHERE owner = $1", owner)
    finally:
        await connection.close()


async def shared(gateway: Gateway, *states: TaskState, account: str = "default") -> str:
    """A text whose stages (two of them) are in these states."""
    answer = await gateway.http.post("/shares", json={"text": "Words.", "account": account})
    share_id = str(answer.json()["share_id"])
    for stage, state in zip(("summarize", "embed"), states, strict=False):
        sql = "UPDATE jobs SET state = $3 WHERE share_id = $1 AND stage = $2"
        await gateway.pool.execute(sql, share_id, stage, state)
    return share_id


async def listed(gateway: Gateway, **asked: str | int) -> SharesAnswer:
    response = await gateway.http.get("/shares", params=asked)
    assert response.status_code == 200, response.text
    return SharesAnswer.model_validate(response.json())


async def all_pages(gateway: Gateway, **asked: str | int) -> list[ShareRow]:
    found: list[ShareRow] = []
    page = await listed(gateway, **asked)
    while page.next is not None:
        found += page.shares
        page = await listed(gateway, cursor=page.next, **asked)
    return found + page.shares


async def test_pages_hold_every_share_once_newest_first(gateway: Gateway) -> None:
    ids = [await shared(gateway) for _ in range(7)]
    assert [row.share_id for row in await all_pages(gateway, limit=3)] == ids[::-1]
    assert [row.share_id for row in await all_pages(gateway, limit=7)] == ids[::-1]


async def test_shares_of_one_moment_are_not_lost_between_pages(gateway: Gateway) -> None:
    ids = {await shared(gateway) for _ in range(5)}
    await gateway.pool.execute("UPDATE shares SET created_at = '2026-01-01' WHERE owner = $1", gateway.parts.owner)
    rows = await all_pages(gateway, limit=2)
    assert len(rows) == 5
    assert {row.share_id for row in rows} == ids


async def test_each_state_lists_exactly_the_shares_that_are_in_it(gateway: Gateway) -> None:
    pairs = list(product(get_args(TaskState), repeat=2))
    expected: dict[str, ShareState] = {}
    for first, second in pairs:
        expected[await shared(gateway, first, second)] = share_state((first, second))
    for state in get_args(ShareState):
        rows = await all_pages(gateway, state=state, limit=4)
        assert {row.share_id for row in rows} == {one for one, is_in in expected.items() if is_in == state}, state
        assert len({row.share_id for row in rows}) == len(rows)
        assert {row.state for row in rows} == {state}


async def test_kind_and_account_are_filtered_and_strangers_see_nothing(gateway: Gateway) -> None:
    await shared(gateway)
    other = await shared(gateway, account="team-b")
    url = (await gateway.http.post("/shares", json={"url": "https://example.org/a"})).json()["share_id"]
    assert [row.share_id for row in (await listed(gateway, account="team-b")).shares] == [other]
    (row,) = (await listed(gateway, kind="url")).shares
    assert (row.share_id, row.url) == (url, "https://example.org/a")
    assert [stage.stage for stage in row.stages] == ["media", "transcribe", "summarize", "embed"]
    await gateway.pool.execute("UPDATE shares SET owner = 'a-stranger' WHERE share_id = $1", url)
    assert (await listed(gateway, kind="url")).shares == []


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"cursor": "nonsense"}, 400),
        ({"cursor": "99999999999999999.x"}, 200),
        ({"cursor": "1.\0"}, 400),
        ({"account": "a\0b"}, 422),
        ({"state": "gone"}, 422),
        ({"limit": "0"}, 422),
        ({"limit": "201"}, 422),
        ({"nothing": "x"}, 422),
    ],
)
async def test_what_cannot_be_asked_is_refused(gateway: Gateway, asked: dict[str, str], status: int) -> None:
    response: httpx.Response = await gateway.http.get("/shares", params=asked)
    assert response.status_code == status, response.text


async def test_long_answers_are_compressed_for_those_who_take_it(gateway: Gateway) -> None:
    for _ in range(5):
        await shared(gateway)
    plain = await gateway.http.get("/shares", headers={"accept-encoding": "identity"})
    packed = await gateway.http.get("/shares", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2


def rows_read(plan: dict[str, object]) -> int:
    """Rows that all scans of a plan have looked at, those included that did not fit."""
    children = plan.get("Plans", [])
    assert isinstance(children, list)
    below = sum(rows_read(child) for child in children)
    if "Scan" not in str(plan["Node Type"]) or "Relation Name" not in plan:
        return below
    rows = float(str(plan["Actual Rows"])) + float(str(plan.get("Rows Removed by Filter", 0)))
    return below + round(rows * float(str(plan["Actual Loops"])))


@pytest.mark.parametrize("state", [None, "done", "failed", "running"])
@pytest.mark.timeout(300)
async def test_a_page_of_100_000_shares_reads_no_more_than_it_looks_at(
    gateway: Gateway, crowd: str, state: ShareState | None
) -> None:
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {candidates_sql(state)}"
    async with gateway.pool.acquire() as connection:
        middle = await connection.fetchval(
            "SELECT created_at FROM shares WHERE owner = $1 ORDER BY created_at OFFSET 50000 LIMIT 1", crowd
        )
        plan = await connection.fetchval(explain, crowd, middle, "", 51)
    plan = json.loads(plan) if isinstance(plan, str) else plan
    assert rows_read(plan[0]["Plan"]) <= 4 * 51, json.dumps(plan, indent=1)


async def test_the_failed_of_100_000_shares_are_found_at_once(gateway: Gateway, crowd: str) -> None:
    object.__setattr__(gateway.parts, "owner", crowd)
    page = await listed(gateway, state="failed", limit=200)
    assert len(page.shares) == MANY // 1000
    assert page.next is None
