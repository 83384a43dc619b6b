"""Cancelling a share: while it is queued, waits, runs, and after its end; with real PostgreSQL and real children."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from millrace.clock import SystemClock
from millrace.contracts.events import ShareCreated, StageName, TaskStatus
from millrace.errors import Denied, Refusal, Retryable, Unavailable
from millrace.kafka.records import Message, Partition
from millrace.models.child.pool import Care, open_children
from millrace.models.port import Paid
from millrace.money import MicroUSD
from millrace.store.cancel import CancelStore
from millrace.store.database import Database, Record
from millrace.stream import cancel as stream_cancel
from millrace.stream.cancel import Stops, watch_cancelled
from millrace.stream.incoming import GATE_HEADER
from millrace.stream.stage import Plan, Run
from millrace.stream.statuses import Statuses
from millrace.stream.writer import Writer
from tests.integration.toy_model import recipe
from tests.support.dying import Died, DyingDatabase, dies_after
from tests.support.gateway_acts import asked_anew, cancelled, queue
from tests.support.job_bench import Bench
from tests.support.toy_stage import Text
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(60)


async def states(bench: Bench) -> dict[str, str]:
    rows = await bench.database.fetch("SELECT stage, state FROM jobs WHERE share_id = $1", bench.share)
    return {row["stage"]: row["state"] for row in rows}


async def job_of(bench: Bench, stage: StageName) -> Record:
    row = await bench.database.fetchrow("SELECT * FROM jobs WHERE share_id = $1 AND stage = $2", bench.share, stage)
    assert row is not None
    return row


async def told(bench: Bench) -> list[str]:
    """Of its own share: a watch tells what other tests have left untold, too."""
    statuses = [await bench.codec.decode("task.status", sent.value) for sent in bench.outbox.to("task.status")]
    return [one.state for one in statuses if isinstance(one, TaskStatus) and one.share_id == bench.share]


@asynccontextmanager
async def watching(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stops]:
    """A worker's watch over its stage; it need not wait for a second."""
    monkeypatch.setattr(stream_cancel, "LOOK_EVERY_S", 0.02)
    stops = Stops()
    writer = Writer(bench.outbox, bench.codec, SystemClock(), source="test", partitions={"task.status": 4})
    store = CancelStore(bench.database, "summarize", ["summarize", "embed"])
    task = asyncio.create_task(watch_cancelled(store, stops, Statuses(writer)))
    try:
        yield stops
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_queued_share_never_begins_and_its_state_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue(bench, "summarize", "embed")
    assert await cancelled(bench) == {"summarize": "cancelled", "embed": "cancelled"}
    await bench.runner().execute(bench.message)
    assert bench.ledger.asked == []
    assert bench.outbox.to("summary.ready") == []
    assert (await job_of(bench, "summarize"))["reason"] == "cancelled before it began"
    async with watching(bench, monkeypatch):
        async with asyncio.timeout(10):
            while (await job_of(bench, "summarize"))["status_due"]:  # noqa: ASYNC110 - a row tells nobody
                await asyncio.sleep(0.01)
    assert await told(bench) == ["cancelled"], "once, and the other stage's by its own workers"
    assert (await job_of(bench, "embed"))["status_due"]


async def test_what_waits_is_removed_and_what_is_on_its_way_back_is_dropped(bench: Bench) -> None:
    bench.toy.raises = [Denied(Refusal("hour:test", MicroUSD(9), MicroUSD(1), MicroUSD(5), None), "no room")]
    await bench.runner().execute(bench.message)
    (row,) = await bench.waiting()
    on_its_way = Message(Partition(row["topic"], 0), 0, row["key"], row["value"], {GATE_HEADER: row["gate"].encode()})
    await bench.database.execute("UPDATE gates SET under_way = 1 WHERE name = $1", row["gate"])

    assert await cancelled(bench) == {"summarize": "cancelled"}
    assert await bench.waiting() == []
    job = await bench.job()
    assert (job["reason"], job["resume_at"], job["cap"]) == ("cancelled while it waited", None, None)
    await bench.runner().execute(on_its_way)
    assert bench.ledger.asked == []
    gate = await bench.database.fetchrow("SELECT allowed - under_way AS room FROM gates WHERE name = $1", row["gate"])
    assert gate is not None
    assert gate["room"] == 2, "the next one in line may go in its place"


async def test_a_local_model_is_stopped_at_once_and_costs_nothing(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "mark"
    await queue(bench, "summarize", "embed")
    async with open_children(recipe(), Care()) as children, watching(bench, monkeypatch) as stops:
        bench.toy.sleeps_in(children, mark)
        running = asyncio.create_task(bench.runner(stops=stops).execute(bench.message))
        await eventually(lambda: mark.exists() and mark.read_text() != "", "the model to begin")
        assert await cancelled(bench) == {"summarize": "running", "embed": "cancelled"}
        await asyncio.wait_for(running, 10)
        assert not psutil.pid_exists(int(mark.read_text()))
    assert list(bench.ledger.ended.values()) == ["released"]
    assert await states(bench) == {"summarize": "cancelled", "embed": "cancelled"}
    assert (await told(bench))[-1] == "cancelled"
    assert await bench.waiting() == []
    assert bench.outbox.to("summarize.dead") == []


class TwoCalls:
    """A stage whose work is two calls of an API; the first takes until `go` is set."""

    def __init__(self) -> None:
        self.called, self.go = asyncio.Event(), asyncio.Event()
        self.billed: list[int] = []

    async def work(self, plan: Plan[ShareCreated], run: Run) -> Text:
        for number in range(2):
            await run.call(number, Text, model="toy", hold=MicroUSD(10), do=lambda n=number: self._do(n))  # type: ignore[misc]
        return Text(text="short")

    async def _do(self, number: int) -> Paid[Text]:
        self.called.set()
        await self.go.wait()
        self.billed.append(number)
        return Paid(Text(text=f"part {number}"), MicroUSD(7))


async def test_a_paid_call_ends_first_its_answer_is_kept_and_no_other_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = TwoCalls()
    bench.toy.work = api.work  # type: ignore[method-assign]
    async with watching(bench, monkeypatch) as stops:
        running = asyncio.create_task(bench.runner(stops=stops).execute(bench.message))
        await asyncio.wait_for(api.called.wait(), 10)
        assert await cancelled(bench) == {"summarize": "running"}
        assert (await bench.job())["reason"] == "is being cancelled"
        done, _ = await asyncio.wait([running], timeout=0.3)
        assert not done, "what is paid for is waited for"
        api.go.set()
        await asyncio.wait_for(running, 10)
    assert api.billed == [0]
    assert list(bench.ledger.ended.values()) == ["settled 7"]
    assert (await bench.job())["state"] == "cancelled"

    await bench.runner().execute(await asked_anew(bench, datetime.now(UTC)))
    assert api.billed == [0, 1], "the answer that was paid for is not bought again"
    assert (await bench.job())["state"] == "done"
    assert len(bench.outbox.to("summary.ready")) == 1


async def test_a_cancel_while_money_is_asked_for_calls_nothing_and_releases_it(bench: Bench) -> None:
    stops, reserve = Stops(), bench.ledger.reserve

    async def slow(*args: object, **kwargs: object) -> object:
        answer = await reserve(*args, **kwargs)  # type: ignore[arg-type]
        await cancelled(bench)
        stops.ask(bench.share)
        await asyncio.sleep(1)
        return answer

    bench.ledger.reserve = slow  # type: ignore[method-assign, assignment]
    await bench.runner(stops=stops).execute(bench.message)
    assert bench.toy.billed == 0
    assert list(bench.ledger.ended.values()) == ["released"]
    assert (await bench.job())["state"] == "cancelled"


async def test_what_has_ended_stays_so(bench: Bench) -> None:
    await bench.runner().execute(bench.message)
    assert await cancelled(bench) == {"summarize": "done"}
    assert (await bench.job())["state"] == "done"
    assert await bench.waiting() == []


async def test_a_cancel_between_a_look_and_the_start_calls_nothing(bench: Bench) -> None:
    class Between(Database):
        async def many(self, sql: str, of: Sequence[tuple[object, ...]]) -> Sequence[Record]:
            rows = await super().many(sql, of)
            if sql.startswith("\nINSERT INTO work"):
                await cancelled(bench)
            return rows

    await queue(bench, "summarize")
    await bench.database.execute("UPDATE jobs SET work_key = 'earlier' WHERE share_id = $1", bench.share)
    await bench.runner(Between(bench.database.pool)).execute(bench.message)
    assert bench.ledger.asked == []
    assert (await bench.job())["state"] == "cancelled"


async def test_a_cancel_that_comes_when_the_event_is_out_says_done(bench: Bench) -> None:
    class Late(Database):
        async def many(self, sql: str, of: Sequence[tuple[object, ...]]) -> Sequence[Record]:
            rows = await super().many(sql, of)
            if "UPDATE work SET finished_at" in sql:
                assert await cancelled(bench) == {"summarize": "running", "embed": "cancelled"}
            return rows

    await queue(bench, "summarize", "embed")
    await bench.runner(Late(bench.database.pool)).execute(bench.message)
    assert await states(bench) == {"summarize": "done", "embed": "cancelled"}
    assert (await job_of(bench, "summarize"))["cancelled_at"] is None


async def test_a_failing_try_of_a_cancelled_share_is_not_tried_again(bench: Bench) -> None:
    async def work(plan: Plan[ShareCreated], run: Run) -> Text:
        await cancelled(bench)
        raise Retryable("busy")

    bench.toy.work = work  # type: ignore[method-assign]
    await bench.runner().execute(bench.message)
    assert (await bench.job())["state"] == "cancelled"
    assert await bench.waiting() == []
    assert (await told(bench))[-1] == "cancelled"


@pytest.mark.parametrize("lease_over", [True, False])
async def test_what_a_dead_worker_left_open_is_finished_although_the_share_is_cancelled(
    bench: Bench, lease_over: bool
) -> None:
    async def dies(plan: Plan[ShareCreated], run: Run) -> Text:
        return await run.call(0, Text, model="toy", hold=MicroUSD(10), do=die)

    async def die() -> Paid[Text]:
        raise Died

    bench.toy.work = dies  # type: ignore[method-assign]
    with pytest.raises(Died):
        await bench.runner(owner="first").execute(bench.message)
    assert await cancelled(bench) == {"summarize": "running"}
    if not lease_over:
        await bench.database.execute(
            "UPDATE work SET lease_until = now() + interval '1 h' WHERE work_key = (SELECT work_key FROM jobs "
            "WHERE share_id = $1)",
            bench.share,
        )
        await bench.runner(owner="second").execute(bench.message)
        assert (await bench.job())["state"] == "running"
        assert await cancelled(bench) == {"summarize": "running"}, "a second cancel changes nothing"
        message = await bench.wake()
    else:
        message = bench.message
    await bench.expire_leases()
    await bench.runner(owner="second").execute(message)
    assert (await bench.job())["state"] == "cancelled"
    assert list(bench.ledger.ended.values()) == ["unknown"]
    assert await bench.waiting() == []


async def test_a_cost_that_the_ledger_was_not_told_of_is_no_end_of_a_cancelled_job(bench: Bench) -> None:
    async def dies(plan: Plan[ShareCreated], run: Run) -> Text:
        bench.ledger.step = untold
        await run.call(0, Text, model="toy", hold=MicroUSD(10), do=bench.toy._bill)
        raise Died

    def untold() -> None:
        if bench.toy.billed:
            raise Unavailable("the process ends before Kafka has it")

    bench.toy.work = dies  # type: ignore[method-assign]
    with pytest.raises(Died):
        await bench.runner(owner="first").execute(bench.message)
    bench.ledger.step = lambda: None
    await bench.database.execute(
        "UPDATE work SET lease_until = now() + interval '1 h' FROM jobs "
        "WHERE jobs.work_key = work.work_key AND share_id = $1",
        bench.share,
    )
    await cancelled(bench)
    await bench.runner(owner="second").execute(bench.message)
    assert (await bench.job())["state"] == "running", "its worker may be about to tell"
    await bench.expire_leases()
    await bench.runner(owner="second").execute(await bench.wake())
    assert (await bench.job())["state"] == "cancelled"
    assert list(bench.ledger.ended.values()) == ["settled 7"]


async def test_a_share_may_be_asked_for_anew_and_then_what_follows_goes_on_too(bench: Bench) -> None:
    await queue(bench, "transcribe", "summarize", "embed")
    before = datetime.now(UTC) - timedelta(minutes=1)
    await cancelled(bench)
    await bench.runner().execute(await asked_anew(bench, before))
    assert (await states(bench))["summarize"] == "cancelled", "a command from before is cancelled, too"

    await bench.runner().execute(await asked_anew(bench, datetime.now(UTC) + timedelta(seconds=1)))
    assert await states(bench) == {"transcribe": "cancelled", "summarize": "done", "embed": "queued"}
    await bench.runner().execute(bench.message)
    assert bench.toy.billed == 1


async def test_holding_jobs_back_and_cancelling_them_do_not_lock_one_another_out(bench: Bench) -> None:
    many = [Bench(bench.database, bench.codec) for _ in range(20)]
    now = datetime.now(UTC)
    refusal = Refusal("hour:test", MicroUSD(9), MicroUSD(1), MicroUSD(5), now + timedelta(hours=1))
    for one in many:
        one.toy.raises = [Denied(refusal, "no room")] * 3
    await asyncio.gather(*(one.runner().execute(one.message) for one in many))
    woken = [await one.wake() for one in many[:10]]
    await asyncio.gather(
        *(one.runner().execute(message) for one, message in zip(many, woken, strict=False)),
        *(cancelled(one) for one in many),
    )
    for one in many:
        await one.runner().execute(one.message)
        job = await one.job()
        assert job["state"] in ("cancelled", "parked")
        assert (job["state"] == "parked") == bool(await one.waiting())
        assert await cancelled(one) == {"summarize": "cancelled"}
        assert await one.waiting() == []


STEPS = 50


@pytest.mark.parametrize("steps", range(STEPS))
async def test_whenever_the_process_dies_a_cancelled_job_is_cancelled_and_its_money_is_free(
    bench: Bench, steps: int
) -> None:
    step, stops = dies_after(steps), Stops()

    async def work(plan: Plan[ShareCreated], run: Run) -> Text:
        await run.call(0, Text, model="toy", hold=MicroUSD(10), do=bench.toy._bill)
        await cancelled(bench)
        stops.ask(bench.share)
        return await run.call(1, Text, model="toy", hold=MicroUSD(10), do=bench.toy._bill)

    bench.toy.work = work  # type: ignore[method-assign]
    bench.outbox.step = bench.ledger.step = step
    died = False
    try:
        await bench.runner(DyingDatabase(bench.database, step), owner="first", stops=stops).execute(bench.message)
    except Died:
        died = True
    bench.outbox.step = bench.ledger.step = lambda: None
    assert not (died and steps == STEPS - 1), "the steps cover all of it"
    await bench.expire_leases()
    if died:
        stops = Stops()
        await bench.runner(owner="second", stops=stops).execute(bench.message)
    assert (await bench.job())["state"] == "cancelled"
    assert bench.toy.billed <= 1 + died, "a call that may have been billed is made anew, the second one never"
    assert set(bench.ledger.holds) <= set(bench.ledger.ended), "a hold was left open"
    assert list(bench.ledger.ended.values()).count("settled 7") == 1
    assert bench.outbox.to("summary.ready") == []
    assert (await told(bench))[-1] == "cancelled" or (await bench.job())["status_due"], "a worker's watch tells it"
