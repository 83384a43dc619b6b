"""Use by user where one call was about texts of several shares: each pays its part, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import pytest

from millrace.contracts.analytics_api import UseAnswer
from millrace.contracts.events import CostDecision
from millrace.money import MicroUSD
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from services.api_gateway.usage import usage
from services.cost_ledger.journal import Journal
from services.cost_ledger.spend import Decided

NOW: Final = datetime(2031, 5, 14, 17, 42, tzinfo=UTC)
HOUR: Final = NOW.replace(minute=0)
OWNERS: Final = {"one": "ada", "two": "ben", "three": "ben"}


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    migrate(empty_database)
    async with open_pool(empty_database, size=4) as opened:
        await opened.executemany(
            "INSERT INTO shares (share_id, account, owner, source_kind, platform, content_type, created_at) "
            "VALUES ($1, 'default', $2, 'url', 'web', 'article', $3)",
            [(share, owner, NOW) for share, owner in OWNERS.items()],
        )
        yield opened


async def called(
    pool: asyncpg.Pool[asyncpg.Record], settled: int | None, parts: Sequence[tuple[str, int]], at: datetime = NOW
) -> None:
    """A call that share "one" paid for, what the ledger has booked for it, and whose texts were in it."""
    hour = at.replace(minute=0)
    granted = CostDecision(
        request_id="call",
        op="reserve",
        outcome="granted",
        account="default",
        scope="embed",
        amount_micro_usd=MicroUSD(500),
        hour_start=hour,
        day_start=hour.replace(hour=0),
        share_id="one",
        model="m",
        request_offset=0,
        decided_at=at,
    )
    end = {"op": "settle", "outcome": "settled", "previous": "held", "actual_micro_usd": settled, "request_offset": 1}
    ended = [] if settled is None else [granted.model_copy(update=end)]
    await Journal(pool).write([Decided(0, 2 * one.request_offset, one) for one in (granted, *ended)])
    await pool.execute(
        "INSERT INTO calls (request_id, work_key, call_no, attempt, account, scope, share_id, model, state, "
        "hold_micro_usd) VALUES ('call', 'work-one', 0, 1, 'default', 'embed', 'one', 'm', 'settled', 500)"
    )
    await pool.executemany(
        "INSERT INTO call_parts (request_id, work_key, share_id, tokens, cost_micro_usd, added_at) "
        "VALUES ('call', $1, $2, 1, $3, $4)",
        [(f"work-{share}", share, cost, at + timedelta(seconds=1)) for share, cost in parts],
    )


async def asked(pool: asyncpg.Pool[asyncpg.Record]) -> UseAnswer:
    return await usage(pool, "24h", NOW)


def by_user(answer: UseAnswer) -> dict[str | None, int]:
    return {user.user: user.settled_micro_usd for user in answer.by_user}


async def test_each_pays_the_part_of_the_receipt(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    await called(pool, 100, [("one", 33), ("two", 33), ("three", 34)])
    answer = await asked(pool)
    assert by_user(answer) == {"ada": 33, "ben": 67}
    assert {user.user: user.calls for user in answer.by_user} == {"ada": 1, "ben": 0}, "the call is its maker's"
    assert [bucket.settled_micro_usd for bucket in answer.series if bucket.start == HOUR] == [100]


async def test_a_call_of_nothing_but_others_texts_costs_its_maker_nothing(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    await called(pool, 7, [("two", 3), ("three", 4)])
    assert by_user(await asked(pool)) == {"ada": 0, "ben": 7}


@pytest.mark.parametrize("settled", [1, 2, 59, 60, 61, 1_000_000_000])
async def test_parts_add_up_to_what_the_ledger_has_booked(pool: asyncpg.Pool[asyncpg.Record], settled: int) -> None:
    """Also where that is not what the receipts came to."""
    await called(pool, settled, [("one", 20), ("two", 20), ("three", 20)])
    found = by_user(await asked(pool))
    assert sum(found.values()) == settled
    assert abs(found["ada"] - settled / 3) <= 1


async def test_before_the_ledger_has_booked_it_a_part_is_nothing(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    await called(pool, None, [("one", 50), ("two", 50)])
    assert by_user(await asked(pool)) == {"ada": 0, "ben": 0}


async def test_the_part_of_a_deleted_share_is_nobodys(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    await called(pool, 100, [("one", 40), ("two", 25), ("three", 35)])
    await pool.execute("DELETE FROM shares WHERE share_id = 'two'")
    assert by_user(await asked(pool)) == {"ada": 40, "ben": 35, None: 25}


async def test_a_call_counts_in_its_own_hour(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    since = HOUR - timedelta(hours=23)
    await called(pool, 100, [("two", 100)], at=since)
    answer = await asked(pool)
    assert [bucket.settled_micro_usd for bucket in answer.by_user[0].series] == [100, *[0] * 23]


async def test_an_earlier_call_is_not_in_the_window(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Although what was in it was written down when the window had begun."""
    await called(pool, 100, [("two", 100)], at=HOUR - timedelta(hours=23, seconds=1))
    assert {user: paid for user, paid in by_user(await asked(pool)).items() if paid} == {}
