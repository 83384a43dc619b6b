"""Calls that nobody owns any more are found and finished, however many others there are."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest

from millrace.contracts.events import StageName
from millrace.ids import RequestId, WorkKey
from millrace.money import MicroUSD
from millrace.store.calls import CallState, CallStore
from millrace.store.database import Database
from millrace.store.work import WorkStore
from millrace.stream.recovery import LeftOpen, Recovery
from millrace.testing.ledger import FakeLedger

LIMIT = timedelta(minutes=15)


class Stage:
    """A stage of the test's own, with works of one call each."""

    def __init__(self, database: Database) -> None:
        self.name: StageName = f"left-{uuid.uuid4().hex[:8]}"
        self.books = FakeLedger()
        self.calls = CallStore(database)
        self._db = database
        work = WorkStore(database, "another", timedelta(seconds=30))
        recovery = Recovery(self.calls, self.books)
        self.open = LeftOpen(self.name, LIMIT, self.calls, work, recovery, page=2)

    async def call(self, state: CallState, *, told: bool = False, began: int = 5, leased: int = 3) -> WorkKey:
        """A call that began, and whose work was last leased, so many minutes ago."""
        key = WorkKey(f"{self.name}:{uuid.uuid4()}")
        await self._db.execute(
            """
            INSERT INTO work (work_key, stage, owner, fence, lease_until)
            VALUES ($1, $2, 'first', 1, now() - $3::interval)
            """,
            key,
            self.name,
            timedelta(minutes=leased),
        )
        await self._db.execute(
            """
            INSERT INTO calls (request_id, work_key, call_no, attempt, account, scope, share_id, model, state,
                               told_ledger, hold_micro_usd, created_at)
            VALUES ($1, $2, 0, 0, 'acme', $3, 'share', 'm', $4, $5, 100, now() - $6::interval)
            """,
            f"{key}:0",
            key,
            self.name,
            state,
            told,
            timedelta(minutes=began),
        )
        return key

    async def state(self, key: WorkKey) -> tuple[str, bool]:
        [row] = await self.calls.of_work(key)
        return row.state, row.told_ledger

    async def lease(self, key: WorkKey, minutes: int) -> None:
        until = timedelta(minutes=minutes)
        await self._db.execute("UPDATE work SET lease_until = now() - $2::interval WHERE work_key = $1", key, until)


@pytest.fixture
def stage(database: Database) -> Stage:
    return Stage(database)


@pytest.mark.parametrize(
    ("before", "after", "ended"),
    [
        ("reserving", "abandoned", "released"),
        ("calling", "unconfirmed", "unknown"),
        ("answered", "settled", "settled 0"),
        ("unconfirmed", "unconfirmed", "unknown"),
    ],
)
async def test_what_was_left_is_finished_as_its_state_says(
    stage: Stage, before: CallState, after: CallState, ended: str
) -> None:
    key = await stage.call(before)
    await stage.open.look()
    assert (await stage.state(key), list(stage.books.ended.values())) == ((after, True), [ended])


async def test_work_whose_owner_may_come_back_is_left_alone_until_later(stage: Stage, database: Database) -> None:
    key, other = await stage.call("calling", leased=1), Stage(database)
    await other.open.look()
    await stage.open.look()
    assert await stage.state(key) == ("calling", False)
    await stage.lease(key, 3)
    await other.open.look()
    assert await stage.state(key) == ("calling", False), "it is another stage's"
    await stage.open.look()
    assert await stage.state(key) == ("unconfirmed", True)


async def test_calls_behind_many_others_are_found_at_once_and_old_ones_again_when_they_are_open(stage: Stage) -> None:
    old = await stage.call("calling", began=300, leased=1)
    for minutes in range(200, 100, -10):
        await stage.call("settled", told=True, began=minutes)
    key = await stage.call("calling", began=90)
    await stage.open.look()
    assert await stage.state(key) == ("unconfirmed", True)
    assert await stage.state(old) == ("calling", False)
    await stage.lease(old, 3)
    await stage.open.look()
    assert await stage.state(old) == ("unconfirmed", True)


async def test_calls_behind_many_that_began_at_one_time_are_found(stage: Stage, database: Database) -> None:
    many = [await stage.call("settled", told=True, began=400) for _ in range(5)]
    moment = "UPDATE calls SET created_at = now() - interval '400 minutes' WHERE work_key = ANY($1::text[])"
    await database.execute(moment, many)
    key = await stage.call("calling")
    await stage.open.look()
    assert await stage.state(key) == ("unconfirmed", True)


async def test_an_answer_that_came_late_is_found_for_as_long_as_one_may_come(stage: Stage) -> None:
    key = await stage.call("calling", began=14)
    await stage.open.look()
    await stage.call("settled", told=True, began=0)
    await stage.open.look()
    await stage.calls.answered(RequestId(f"{key}:0"), {"text": "late"}, MicroUSD(70))
    await stage.lease(key, 3)
    await stage.open.look()
    assert await stage.state(key) == ("settled", True)
