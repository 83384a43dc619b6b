"""Leases on work: only the newest owner holds on to it and finishes it; on the real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from millrace.ids import WorkKey
from millrace.store.database import Database
from millrace.store.pool import open_pool
from millrace.store.work import Done, Mine, WorkStore
from millrace.stream.lease import kept_lease

LEASE = timedelta(seconds=60)


@pytest.fixture
async def database(migrated: str) -> AsyncIterator[Database]:
    async with open_pool(migrated) as pool:
        yield Database(pool)


async def owned(work: WorkStore, key: WorkKey) -> Mine:
    claim = await work.claim(key, "embed")
    assert isinstance(claim, Mine)
    return claim


async def test_a_former_owner_neither_finishes_nor_holds_nor_gives_back_its_successors_work(
    database: Database, unique: str
) -> None:
    key, former, newest = WorkKey(unique), WorkStore(database, "one", LEASE), WorkStore(database, "two", LEASE)
    before = await owned(former, key)
    await former.give_back(key, before.fence)  # or its lease ran out while it stood still
    after = await owned(newest, key)
    assert after.fence == before.fence + 1

    row = await database.fetchrow("SELECT * FROM work WHERE work_key = $1", key)
    assert await former.complete(key, before.fence, {"text": "the former's"}) is None
    assert not await former.renew(key, before.fence)
    await former.give_back(key, before.fence)
    assert await database.fetchrow("SELECT * FROM work WHERE work_key = $1", key) == row

    assert await newest.renew(key, after.fence)
    done = await newest.complete(key, after.fence, {"text": "the newest's"})
    assert isinstance(done, Done)
    assert done.result == {"text": "the newest's"}
    assert await newest.complete(key, after.fence, {"text": "again"}) == done, "the reply to the first was lost"


async def test_a_lease_is_renewed_before_it_runs_out_for_as_long_as_the_work_goes_on(
    database: Database, unique: str
) -> None:
    key, lease = WorkKey(unique), timedelta(seconds=3)
    work = WorkStore(database, "one", lease)
    mine = await owned(work, key)
    held = "SELECT lease_until, lease_until > now() AS live FROM work WHERE work_key = $1"
    first = await database.fetchrow(held, key)
    assert first is not None
    async with kept_lease(work, key, mine.fence, lease):
        until = first["lease_until"]
        while until == first["lease_until"]:
            row = await database.fetchrow(held, key)
            assert row is not None
            assert row["live"], "another worker could have taken it"
            until = row["lease_until"]
            await asyncio.sleep(0.02)
