"""A new job and the lease on its work in one statement, on the real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from millrace.contracts.events import TaskStatus
from millrace.ids import WorkKey
from millrace.store.ask import Ask
from millrace.store.database import Database
from millrace.store.jobs import JobStore
from millrace.store.turns import Turn
from millrace.store.work import Busy, Mine, WorkStore

LEASE = timedelta(seconds=60)
NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ASK = Ask(Turn(NOW - timedelta(minutes=1)))
KNOWN = {
    "that has a work": "UPDATE jobs SET work_key = 'another'",
    "whose turn is known": "UPDATE jobs SET asked_at = now()",
    "that is cancelled": "UPDATE jobs SET state = 'cancelled', cancelled_at = now()",
    "that is to be cancelled": "UPDATE jobs SET cancelled_at = now()",
    "that runs": "UPDATE jobs SET state = 'running'",
}


def running(share: str) -> TaskStatus:
    return TaskStatus(
        share_id=share,
        account="a",
        stage="embed",
        state="running",
        attempt=0,
        model="m",
        work_key=WorkKey(f"work-{share}"),
        updated_at=NOW,
    )


async def accepted(database: Database, share: str) -> None:
    """As the gateway writes it."""
    await database.execute(
        "INSERT INTO jobs (share_id, stage, account, state, updated_at) VALUES ($1, 'embed', 'a', 'queued', now())",
        share,
    )


@pytest.mark.parametrize("by_the_gateway", [True, False])
async def test_a_new_job_runs_under_a_lease_of_its_own(database: Database, unique: str, by_the_gateway: bool) -> None:
    if by_the_gateway:
        await accepted(database, unique)
    work, status = WorkStore(database, "one", LEASE), running(unique)
    mine = await work.take_up(status, ASK)
    assert mine is not None
    assert mine.first
    row = await JobStore(database).get(unique, "embed")
    assert row is not None
    assert (row.state, row.work_key, row.turn, row.attempt) == ("running", status.work_key, ASK.turn, 0)
    assert isinstance(await WorkStore(database, "two", LEASE).claim(WorkKey(f"work-{unique}"), "embed"), Busy)
    assert await work.renew(WorkKey(f"work-{unique}"), mine.fence)

    assert await WorkStore(database, "two", LEASE).take_up(status, ASK) is None  # delivered again


@pytest.mark.parametrize("what", KNOWN)
async def test_a_job_of_which_something_is_known_is_left_to_be_looked_at(
    database: Database, unique: str, what: str
) -> None:
    await accepted(database, unique)
    await database.execute(f"{KNOWN[what]} WHERE share_id = $1", unique)
    before = await database.fetchrow("SELECT * FROM jobs WHERE share_id = $1", unique)
    work = WorkStore(database, "one", LEASE)
    assert await work.take_up(running(unique), ASK) is None
    assert await database.fetchrow("SELECT * FROM jobs WHERE share_id = $1", unique) == before
    assert isinstance(await work.claim(WorkKey(f"work-{unique}"), "embed"), Mine)  # nobody had it


async def test_work_of_somebody_else_is_not_taken_but_what_was_given_back_is(database: Database, unique: str) -> None:
    one, two, key = WorkStore(database, "one", LEASE), WorkStore(database, "two", LEASE), WorkKey(f"work-{unique}")
    theirs = await one.claim(key, "embed")
    assert isinstance(theirs, Mine)
    assert await two.take_up(running(unique), ASK) is None
    assert await one.renew(key, theirs.fence)
    row = await JobStore(database).get(unique, "embed")
    assert row is not None
    assert (row.state, row.work_key) == ("running", key)
    assert isinstance(await two.claim(key, "embed"), Busy)

    await database.execute("DELETE FROM jobs WHERE share_id = $1", unique)
    await one.give_back(key, theirs.fence)
    mine = await two.take_up(running(unique), ASK)
    assert mine is not None
    assert mine.fence == theirs.fence + 1
    assert not mine.first
    assert not await one.renew(key, theirs.fence)
