"""Checkpoints against the real database: the next owner reads them, a former one writes none, done work has none."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from pydantic import BaseModel, JsonValue

from millrace.clock import ManualClock, SystemClock
from millrace.contracts.events import ShareCreated
from millrace.errors import Retryable
from millrace.store.database import Database
from millrace.store.work import Mine, WorkStore
from millrace.stream.checkpoints import WRITTEN_EVERY, Checkpoints
from millrace.stream.stage import Plan, Run
from millrace.testing.registry import codec_in_memory
from tests.support.dying import Died
from tests.support.job_bench import LEASE, Bench
from tests.support.toy_stage import SPEC, Text, Toy


class Steps(BaseModel):
    done: int


class Stepping(Toy):
    """Work of ten steps."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[int] = []
        self.stops: dict[int, BaseException] = {}
        self.reached = asyncio.Event()

    async def work(self, plan: Plan[ShareCreated], run: Run) -> Text:
        before = run.resume(Steps)
        for step in range(before.done if before else 0, 10):
            self.made.append(step)
            await run.checkpoint(Steps(done=step + 1))
            if step in self.stops:
                self.reached.set()
                error = self.stops.pop(step)
                if isinstance(error, asyncio.CancelledError):
                    await asyncio.Event().wait()
                raise error
        return Text(text="short")


@pytest.fixture
async def bench(database: Database) -> Bench:
    made = Bench(database, await codec_in_memory())
    made.toy = Stepping()
    return made


def stepping(bench: Bench) -> Stepping:
    assert isinstance(bench.toy, Stepping)
    return bench.toy


async def kept(bench: Bench) -> JsonValue:
    row = await bench.database.fetchrow(
        "SELECT checkpoint FROM work JOIN jobs USING (work_key) WHERE share_id = $1", bench.share
    )
    assert row is not None
    value: JsonValue = row["checkpoint"]
    return value


async def test_a_failed_try_is_gone_on_with_and_nothing_is_left_of_it(bench: Bench) -> None:
    stepping(bench).stops = {6: Retryable("busy")}
    await bench.runner().execute(bench.message)
    assert await kept(bench) == {"done": 7}
    await bench.runner(owner="two").execute(await bench.wake())
    assert stepping(bench).made == list(range(10)), "no step was made twice"
    assert ((await bench.job())["state"], await kept(bench)) == ("done", None)


async def test_a_process_that_dies_loses_seconds_of_work_at_most(bench: Bench) -> None:
    stepping(bench).stops = {6: Died()}

    class Dead(Database):
        """Nothing is written any more once the process has died."""

        async def execute(self, sql: str, *args: object) -> int:
            return 0 if stepping(bench).reached.is_set() else await super().execute(sql, *args)

    with pytest.raises(Died):
        await bench.runner(Dead(bench.database.pool)).execute(bench.message)
    assert await kept(bench) == {"done": 1}, "what was kept within the five seconds before is lost"
    await bench.expire_leases()
    await bench.runner(owner="two").execute(bench.message)
    assert (stepping(bench).made[7:], (await bench.job())["state"]) == (list(range(1, 10)), "done")


async def test_a_job_that_is_cancelled_keeps_its_last_state_for_the_next(bench: Bench) -> None:
    stepping(bench).stops = {3: asyncio.CancelledError()}
    running = asyncio.create_task(bench.runner().execute(bench.message))
    await stepping(bench).reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await kept(bench) == {"done": 4}
    await bench.runner(owner="two").execute(bench.message)
    assert stepping(bench).made == list(range(10))


async def test_a_former_owner_keeps_nothing(bench: Bench, database: Database) -> None:
    key = bench.toy.plan(await bench.codec.decode("share.created", bench.message.value), {})
    assert key is not None
    work_key = key.work_key(SPEC.name)
    first, second = WorkStore(database, "one", LEASE), WorkStore(database, "two", LEASE)
    before = await first.claim(work_key, SPEC.name)
    await bench.expire_leases()
    after = await second.claim(work_key, SPEC.name)
    assert isinstance(before, Mine)
    assert isinstance(after, Mine)
    clock = SystemClock()
    await Checkpoints(second, work_key, after, clock).keep(Steps(done=2))
    await Checkpoints(first, work_key, before, clock).keep(Steps(done=9))
    await bench.expire_leases()
    third = await first.claim(work_key, SPEC.name)
    assert isinstance(third, Mine)
    assert third.checkpoint == {"done": 2}


async def test_they_are_written_every_few_seconds_and_of_another_form_are_none(
    bench: Bench, database: Database
) -> None:
    plan = bench.toy.plan(await bench.codec.decode("share.created", bench.message.value), {})
    assert plan is not None
    work, clock = WorkStore(database, "one", LEASE), ManualClock(SystemClock().now())
    mine = await work.claim(plan.work_key(SPEC.name), SPEC.name)
    assert isinstance(mine, Mine)
    checkpoints = Checkpoints(work, plan.work_key(SPEC.name), mine, clock)

    async def stored() -> object:
        row = await database.fetchrow("SELECT checkpoint FROM work WHERE work_key = $1", plan.work_key(SPEC.name))
        assert row is not None
        return row["checkpoint"]

    for done, passed, seen in ((1, timedelta(0), 1), (2, WRITTEN_EVERY / 2, 1), (3, WRITTEN_EVERY, 3)):
        clock.advance(passed)
        await checkpoints.keep(Steps(done=done))
        assert await stored() == {"done": seen}
    assert checkpoints.last(Text) is None
    await bench.expire_leases()
    again = await work.claim(plan.work_key(SPEC.name), SPEC.name)
    assert isinstance(again, Mine)
    assert Checkpoints(work, plan.work_key(SPEC.name), again, clock).last(Steps) == Steps(done=3)
    assert Checkpoints(work, plan.work_key(SPEC.name), again, clock).last(Text) is None
