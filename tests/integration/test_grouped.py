"""Statements of many callers in one round trip, on the real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest

from millrace.store.database import Database, Record
from millrace.store.grouped import MOST, Grouped
from millrace.store.pool import open_pool

ADD = """
INSERT INTO sums (name, total) VALUES ($1, 100 / $2::int)
ON CONFLICT (name) DO UPDATE SET total = sums.total + excluded.total WHERE sums.total < 1000
RETURNING name AS key, total
"""


class Counted(Database):
    """Remembers the keys of each round trip; the first waits until it is let go."""

    def __init__(self, database: Database) -> None:
        super().__init__(database.pool)
        self.trips: list[list[object]] = []
        self.go = asyncio.Event()

    async def many(self, sql: str, of: Sequence[tuple[object, ...]]) -> Sequence[Record]:
        self.trips.append([args[0] for args in of])
        await self.go.wait()
        return await super().many(sql, of)


@pytest.fixture
async def counted(empty_database: str) -> AsyncIterator[Counted]:
    async with open_pool(empty_database) as pool:
        await pool.execute("CREATE TABLE sums (name text PRIMARY KEY, total int NOT NULL)")
        yield Counted(Database(pool))


async def begun(counted: Counted, add: Grouped, first: str = "first") -> asyncio.Task[Record | None]:
    """A round trip that is under way."""
    task = asyncio.create_task(add(first, 1))
    while not counted.trips:  # noqa: ASYNC110  # the test's own list
        await asyncio.sleep(0)
    return task


async def test_what_comes_while_one_is_under_way_goes_together_in_the_next_in_the_order_of_keys(
    counted: Counted,
) -> None:
    add = Grouped(counted, ADD)
    first = await begun(counted, add)
    later = [asyncio.create_task(add(name, 2)) for name in ("c", "a", "b")]
    await asyncio.sleep(0)
    counted.go.set()
    rows = await asyncio.gather(first, *later)
    assert counted.trips == [["first"], ["a", "b", "c"]]
    assert [(row["key"], row["total"]) for row in rows if row] == [("first", 100), ("c", 50), ("a", 50), ("b", 50)]


async def test_one_key_is_asked_for_once_in_a_round_trip_and_in_turn(counted: Counted) -> None:
    add = Grouped(counted, ADD)
    first = await begun(counted, add, "same")
    later = [asyncio.create_task(add("same", divisor)) for divisor in (1, 2)]
    await asyncio.sleep(0)
    counted.go.set()
    rows = await asyncio.gather(first, *later)
    assert counted.trips == [["same"]] * 3
    assert [row and row["total"] for row in rows] == [100, 200, 250]


async def test_a_statement_that_gives_no_row_gives_none(counted: Counted) -> None:
    counted.go.set()
    await counted.pool.execute("INSERT INTO sums VALUES ('full', 1000)")
    add = Grouped(counted, ADD)
    full, new = await asyncio.gather(add("full", 1), add("new", 1))
    assert full is None
    assert new is not None


async def test_one_that_cannot_be_run_spoils_it_for_no_other(counted: Counted) -> None:
    add = Grouped(counted, ADD)
    first = await begun(counted, add)
    later = [asyncio.create_task(add(name, divisor)) for name, divisor in (("a", 1), ("bad", 0), ("z", 1))]
    await asyncio.sleep(0)
    counted.go.set()
    await first
    found = await asyncio.gather(*later, return_exceptions=True)
    assert isinstance(found[1], asyncpg.DivisionByZeroError)
    assert [row["total"] for row in (found[0], found[2]) if isinstance(row, Record)] == [100, 100]
    assert await counted.pool.fetchval("SELECT sum(total) FROM sums") == 300, "nobody was run twice"


async def test_a_round_trip_has_a_largest_size(counted: Counted) -> None:
    add = Grouped(counted, ADD)
    first = await begun(counted, add)
    later = [asyncio.create_task(add(f"{number:04}", 1)) for number in range(MOST + 1)]
    await asyncio.sleep(0)
    counted.go.set()
    await asyncio.gather(first, *later)
    assert [len(trip) for trip in counted.trips] == [1, MOST, 1]


async def test_who_is_cancelled_takes_nobody_along(counted: Counted) -> None:
    add = Grouped(counted, ADD)
    first = await begun(counted, add)
    gone, stays = (asyncio.create_task(add(name, 1)) for name in ("gone", "stays"))
    await asyncio.sleep(0)
    gone.cancel()
    counted.go.set()
    await first
    assert await stays is not None
    assert gone.cancelled()
