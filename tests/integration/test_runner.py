"""Jobs against the real database: where each error leads, and what a dying process leaves behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import psutil
import pytest

from millrace.clock import ManualClock
from millrace.contracts.events import (
    ShareCreated,
    StageRequested,
    SummaryReady,
    TaskStatus,
)
from millrace.errors import Denied, Poison, Refusal, Retryable, Skipped, Unavailable
from millrace.ids import RequestId
from millrace.kafka.records import Message, Partition
from millrace.models.child.pool import Care, open_children
from millrace.models.port import Embedded, Paid, Use
from millrace.money import MicroUSD
from millrace.store.waiting import WaitingStore
from millrace.store.work import WorkStore
from millrace.stream.endings import MAX_ATTEMPTS, MAX_ATTEMPTS_OVER_LIMIT
from millrace.stream.stage import Plan, Run
from millrace.testing.ledger import FakeLedger
from services.embed_agent.adapters.pgvector import PgVectorStore
from services.embed_agent.batches import packed
from services.embed_agent.domain import Chunk
from tests.integration.toy_model import Order, Seen, recipe
from tests.support.dying import Died, DyingDatabase, dies_after
from tests.support.job_bench import LEASE, Bench
from tests.support.outbox import Outbox
from tests.support.toy_stage import SPEC, Text
from tests.support.waiting import eventually


async def test_finished_work_is_emitted_with_its_cost_and_told_to_the_ledger(bench: Bench) -> None:
    await bench.runner().execute(bench.message)
    (out,) = bench.outbox.to("summary.ready")
    event = await bench.codec.decode("summary.ready", out.value)
    assert isinstance(event, SummaryReady)
    assert (event.summary, event.cost_micro_usd) == ("short", 7)
    assert (await bench.job())["state"] == "done"
    assert list(bench.ledger.ended.values()) == ["settled 7"]
    calls = await bench.database.fetch("SELECT state, told_ledger FROM calls WHERE share_id = $1", bench.share)
    assert [tuple(call) for call in calls] == [("settled", True)]
    statuses = [await bench.codec.decode("task.status", sent.value) for sent in bench.outbox.to("task.status")]
    assert [s.state for s in statuses if isinstance(s, TaskStatus)] == ["running", "done"]


async def test_a_record_delivered_again_is_neither_paid_nor_emitted_twice(bench: Bench) -> None:
    for _ in range(2):
        await bench.runner().execute(bench.message)
    assert bench.toy.billed == 1
    assert len(bench.outbox.to("summary.ready")) == 1


async def test_a_record_delivered_again_while_its_job_waits_is_no_further_try(bench: Bench) -> None:
    bench.toy.raises = [Retryable("busy"), Retryable("busy"), Retryable("busy")]
    for _ in range(3):
        await bench.runner().execute(bench.message)
    assert (await bench.job())["attempt"] == 1
    bench.toy.raises = []
    await bench.runner().execute(await bench.wake())
    assert (await bench.job())["state"] == "done"


async def test_the_same_words_of_another_share_reuse_the_work(bench: Bench) -> None:
    await bench.runner().execute(bench.message)
    other = Bench(bench.database, bench.codec)
    event = await bench.codec.decode("share.created", bench.message.value)
    again = event.model_copy(update={"share_id": other.share})
    other.toy = bench.toy
    message = Message(Partition("share.created", 0), 9, b"k", bench.codec.encode("share.created", again), {})
    await other.runner().execute(message)
    assert bench.toy.billed == 1
    assert (await other.job())["cost_micro_usd"] == 0
    assert len(other.outbox.to("summary.ready")) == 1


async def test_a_refusal_parks_the_job_with_the_amounts_until_there_is_room(bench: Bench) -> None:
    room_at = datetime.now(UTC) + timedelta(minutes=20)
    refusal = Refusal("hour:summarize", MicroUSD(10), MicroUSD(3), MicroUSD(5), room_at)
    bench.toy.raises = [Denied(refusal, "no money")]
    await bench.runner().execute(bench.message)
    job, (row,) = await bench.job(), await bench.waiting()
    assert (job["state"], job["cap"], job["needed_micro_usd"], job["left_micro_usd"]) == (
        "parked",
        "hour:summarize",
        10,
        3,
    )
    assert job["resume_at"] == row["due"] == room_at
    await bench.runner().execute(await bench.wake())
    assert (await bench.job())["state"] == "done"


async def test_waiting_work_carries_the_bytes_it_came_with(bench: Bench) -> None:
    bench.toy.raises = [Retryable("busy"), Retryable("still busy")]
    await bench.runner().execute(bench.message)
    await bench.runner().execute(await bench.wake())
    (row,) = await bench.waiting()
    command = await bench.codec.decode("summarize.requested", row["value"])
    assert isinstance(command, StageRequested)
    assert command.origin_value == bench.message.value
    assert command.origin_topic == "share.created"
    assert command.origin_headers == {"h": b"1"}


@pytest.mark.parametrize("error", [Retryable("the host does not answer"), ValueError("secret internals")])
async def test_tries_are_bounded_and_end_in_a_dead_letter_with_the_original_bytes(
    bench: Bench, error: Exception
) -> None:
    bench.toy.raises = [error] * MAX_ATTEMPTS
    message = bench.message
    for _ in range(MAX_ATTEMPTS - 1):
        await bench.runner().execute(message)
        assert (await bench.job())["state"] == "waiting"
        message = await bench.wake()
    await bench.runner().execute(message)
    job, (dead,) = await bench.job(), bench.outbox.to("summarize.dead")
    assert (job["state"], job["attempt"]) == ("failed", MAX_ATTEMPTS)
    assert "secret" not in job["reason"]
    assert dead.value == bench.message.value
    assert dead.headers["h"] == b"1"
    assert dead.headers["millrace-error"] == type(error).__name__.encode()
    assert await bench.waiting() == []


async def test_poison_is_a_dead_letter_at_once(bench: Bench) -> None:
    bench.toy.raises = [Poison("never")]
    await bench.runner().execute(bench.message)
    assert (await bench.job())["reason"] == "never"
    assert len(bench.outbox.to("summarize.dead")) == 1


async def test_a_skip_is_a_result_with_its_reason(bench: Bench) -> None:
    bench.toy.raises = [Skipped("too-short")]
    await bench.runner().execute(bench.message)
    assert (await bench.job())["state"] == "skipped"
    event = await bench.codec.decode("summary.ready", bench.outbox.to("summary.ready")[0].value)
    assert isinstance(event, SummaryReady)
    assert event.skipped_reason == "too-short"


async def test_an_outage_of_our_own_parts_does_not_count_as_a_try(bench: Bench) -> None:
    bench.toy.raises = [Unavailable("the ledger does not answer")] * 5
    message = bench.message
    for _ in range(5):
        await bench.runner().execute(message)
        message = await bench.wake()
    await bench.runner().execute(message)
    assert (await bench.job())["state"] == "done"


async def test_work_that_another_worker_does_is_waited_for_and_its_result_used(bench: Bench) -> None:
    plan = bench.toy.plan(await bench.codec.decode("share.created", bench.message.value), {})
    assert plan is not None
    key = plan.work_key("summarize")
    other = WorkStore(bench.database, "other", LEASE)
    claim = await other.claim(key, "summarize")
    await bench.runner().execute(bench.message)
    assert (await bench.job())["reason"] == "another worker is doing the same work"
    assert bench.toy.billed == 0
    await other.complete(key, claim.fence, {"text": "theirs"})  # type: ignore[union-attr]  # it was free
    await bench.runner().execute(await bench.wake())
    assert bench.toy.billed == 0
    event = await bench.codec.decode("summary.ready", bench.outbox.to("summary.ready")[0].value)
    assert isinstance(event, SummaryReady)
    assert event.summary == "theirs"


@pytest.mark.parametrize("raw", [b"", b"\x00\x00\x00\x00\x01", b"nonsense" * 9])
async def test_bytes_that_cannot_be_read_are_kept_and_shown(bench: Bench, raw: bytes) -> None:
    await bench.database.execute(
        "INSERT INTO jobs (share_id, stage, account, state) VALUES ($1, 'summarize', 'a', 'queued')", bench.share
    )
    bad = Message(Partition("share.created", 0), 1, bench.share.encode(), raw, {})
    await bench.runner().execute(bad)
    (dead,) = bench.outbox.to("summarize.dead")
    assert dead.value == raw
    assert (await bench.job())["state"] == "failed"


async def test_an_event_for_another_stage_leaves_no_trace(bench: Bench) -> None:
    event = await bench.codec.decode("share.created", bench.message.value)
    upload = event.model_copy(update={"text": None, "source_kind": "upload", "blob_key": "k"})
    message = Message(Partition("share.created", 0), 2, b"k", bench.codec.encode("share.created", upload), {})
    await bench.runner().execute(message)
    assert bench.outbox.sent == []


async def test_a_server_that_asks_for_a_wait_beyond_the_calendar_is_not_believed(bench: Bench) -> None:
    bench.toy.raises = [Retryable("busy", retry_after_s=float("9" * 400))]
    await bench.runner().execute(bench.message)
    (row,) = await bench.waiting()
    assert row["due"] < datetime.now(UTC) + timedelta(days=2)


@pytest.mark.parametrize("topic", ["no.such.topic", "cost.rows", "summarize.requested"])
async def test_a_command_with_a_foreign_message_is_a_dead_letter(bench: Bench, topic: str) -> None:
    command = StageRequested(
        share_id=bench.share,
        stage="summarize",
        reason="replay",
        origin_topic=topic,
        origin_value=b"anything",
        requested_by="somebody",
        requested_at=datetime.now(UTC),
    )
    raw = bench.codec.encode("summarize.requested", command)
    await bench.runner().execute(Message(Partition("summarize.requested", 0), 0, b"k", raw, {}))
    (dead,) = bench.outbox.to("summarize.dead")
    assert dead.value == raw


async def test_a_command_with_a_readable_message_that_the_stage_does_not_read_is_one_too(bench: Bench) -> None:
    status = TaskStatus(share_id=bench.share, stage="embed", state="done", updated_at=datetime.now(UTC))
    command = StageRequested(
        share_id=bench.share,
        stage="summarize",
        reason="replay",
        origin_topic="task.status",
        origin_value=bench.codec.encode("task.status", status),
        requested_by="somebody",
        requested_at=datetime.now(UTC),
    )
    raw = bench.codec.encode("summarize.requested", command)
    await bench.runner().execute(Message(Partition("summarize.requested", 0), 0, b"k", raw, {}))
    (dead,) = bench.outbox.to("summarize.dead")
    assert dead.value == raw


async def test_an_id_that_no_database_takes_is_a_dead_letter(bench: Bench) -> None:
    event = await bench.codec.decode("share.created", bench.message.value)
    raw = bench.codec.encode("share.created", event.model_copy(update={"share_id": "with a \0"}))
    await bench.runner().execute(Message(Partition("share.created", 0), 3, b"k", raw, {}))
    assert len(bench.outbox.to("summarize.dead")) == 1


@pytest.mark.parametrize("error", [Poison("a \0, a \ud800, " + "and much " * 1_000_000), Retryable("a \0, a \ud800")])
async def test_whatever_an_error_says_the_job_goes_its_way(bench: Bench, error: Exception) -> None:
    bench.toy.raises = [error]
    await bench.runner().execute(bench.message)
    assert (await bench.job())["state"] in ("failed", "waiting")


async def test_a_paused_worker_does_not_undo_what_its_successor_has_finished(bench: Bench) -> None:
    successor = bench.runner(owner="successor")

    async def paused(plan: Plan[ShareCreated], run: Run) -> Text:
        bench.toy.work = working  # type: ignore[method-assign]  # the successor works as usual
        await bench.expire_leases()
        await successor.execute(bench.message)
        return await working(plan, run)

    working = bench.toy.work
    bench.toy.work = paused  # type: ignore[method-assign]  # the first worker stands still in the middle
    await bench.runner().execute(bench.message)
    assert (await bench.job())["state"] == "done"
    assert await bench.waiting() == []
    assert len(bench.outbox.to("summary.ready")) == 1
    last = await bench.codec.decode("task.status", bench.outbox.to("task.status")[-1].value)
    assert isinstance(last, TaskStatus)
    assert last.state == "done"


async def test_a_call_that_the_limit_cuts_off_is_told_to_the_ledger_also_at_the_last_try(bench: Bench) -> None:
    async def never(plan: Plan[ShareCreated], run: Run) -> Text:
        return await run.call(0, Text, model="toy", hold=MicroUSD(10), do=_never)

    async def _never() -> Paid[Text]:
        await asyncio.sleep(3600)
        raise AssertionError

    bench.toy.work = never  # type: ignore[method-assign]  # a model that hangs
    message = bench.message
    for number in range(MAX_ATTEMPTS_OVER_LIMIT):
        await bench.runner(spec=replace(SPEC, hard_limit=timedelta(seconds=0.3))).execute(message)
        if number < MAX_ATTEMPTS_OVER_LIMIT - 1:
            message = await bench.wake()
    assert (await bench.job())["state"] == "failed"
    assert "limit of 0.3 seconds" in (await bench.job())["reason"]
    assert list(bench.ledger.ended.values()) == ["unknown"] * MAX_ATTEMPTS_OVER_LIMIT


async def test_work_beyond_the_soft_limit_is_said_to_be_overdue_and_goes_on(bench: Bench) -> None:
    async def slow(plan: Plan[ShareCreated], run: Run) -> Text:
        await eventually(lambda: len(bench.outbox.to("task.status")) >= 2, "a second status")
        assert (await bench.job())["state"] == "running"
        return Text(text="at last")

    bench.toy.work = slow  # type: ignore[method-assign]
    await bench.runner(spec=replace(SPEC, soft_limit=timedelta(seconds=0.5))).execute(bench.message)
    told = [await bench.codec.decode("task.status", sent.value) for sent in bench.outbox.to("task.status")]
    assert [(one.state, one.reason) for one in told if isinstance(one, TaskStatus)] == [
        ("running", None),
        ("running", "takes longer than 0.5 seconds; it is ended after 2 minutes"),
        ("done", None),
    ]
    assert (await bench.job())["reason"] is None


async def test_the_child_of_a_local_model_is_killed_at_the_hard_limit_and_costs_nothing(
    bench: Bench, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    async with open_children(recipe(), Care()) as children:
        bench.toy.sleeps_in(children, mark)
        await bench.runner(spec=replace(SPEC, hard_limit=timedelta(seconds=1))).execute(bench.message)
        assert not psutil.pid_exists(int(mark.read_text()))
        assert children.pids == []
        assert (await bench.job())["state"] == "waiting"
        assert list(bench.ledger.ended.values()) == ["released"]
        assert (await children.ask(Order(), Seen))[0].loads == 1


async def test_a_worker_whose_clock_is_wrong_waits_as_long_as_others(bench: Bench) -> None:
    bench.toy.raises = [Retryable("busy")]
    await bench.runner(clock=ManualClock(datetime.now(UTC) + timedelta(days=3))).execute(bench.message)
    (row,) = await bench.waiting()
    assert row["due"] < datetime.now(UTC) + timedelta(minutes=1)


async def test_a_database_that_drops_all_connections_counts_no_try(bench: Bench, migrated: str) -> None:
    chunk = Chunk("words", tokens=1)
    store = PgVectorStore(bench.database)
    await store.keep("toy", packed(Embedded([[1.0, 0.5]], Use()), [chunk.content_hash]))

    async def work(plan: Plan[ShareCreated], run: Run) -> Text:
        operator = await asyncpg.connect(migrated)
        ended = await operator.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        await operator.close()
        assert ended
        await store.replace(plan.work_key("summarize"), "content", "toy", [chunk])
        return Text(text="stored")

    bench.toy.work = work  # type: ignore[method-assign]  # a stage whose database goes away in the middle
    await bench.runner().execute(bench.message)
    job = await bench.job()
    assert (job["state"], job["attempt"]) == ("done", 0)
    assert await bench.waiting() == []


async def test_who_waits_for_the_same_work_is_woken_when_it_is_done(bench: Bench) -> None:
    other = Bench(bench.database, bench.codec, text=f"words of {bench.share}")

    async def slowly(plan: Plan[ShareCreated], run: Run) -> Text:
        await bench.runner(owner="another").execute(other.message)
        (row,) = await other.waiting()
        assert row["due"] > datetime.now(UTC), "it waits for its time, or for the result"
        return await working(plan, run)

    working = bench.toy.work
    bench.toy.work = slowly  # type: ignore[method-assign]  # meanwhile another worker is given the other share
    await bench.runner().execute(bench.message)

    due = await WaitingStore(bench.database, "summarize").take(LEASE)
    assert other.share in [waiting.share_id for waiting in due]
    await bench.runner(owner="another").execute(await other.wake())
    assert (await other.job())["state"] == "done"
    assert bench.toy.billed == 1


STEPS = 60


@pytest.mark.parametrize("steps", range(STEPS))
async def test_whenever_the_process_dies_the_next_one_finishes_the_job(bench: Bench, steps: int) -> None:
    """Dies before or after a statement or a delivery; then the record is delivered again, as Kafka does."""
    bench.outbox.step = step = dies_after(steps)
    died = False
    try:
        await bench.runner(DyingDatabase(bench.database, step), owner="first").execute(bench.message)
    except Died:
        died = True
    bench.outbox.step = lambda: None
    await bench.expire_leases()
    await bench.runner(owner="second").execute(bench.message)

    assert (await bench.job())["state"] == "done"
    outputs = bench.outbox.to("summary.ready")
    assert {o.headers["ce_id"] for o in outputs} == {outputs[0].headers["ce_id"]}
    assert 1 <= len(outputs) <= (2 if died else 1)
    assert set(bench.ledger.holds) <= set(bench.ledger.ended), "a hold was left open"
    ends = list(bench.ledger.ended.values())
    assert ends.count("settled 7") == 1
    assert bench.toy.billed <= 1 + ends.count("unknown")
    if steps == STEPS - 1:
        assert not died, "there are more steps than are tried"


async def test_that_it_ran_is_told_before_its_end_however_slowly(bench: Bench) -> None:
    class Slow(Outbox):
        async def before(self, topic: str) -> None:
            if topic == "task.status" and not self.to("task.status"):
                while not self.to("summary.ready"):  # noqa: ASYNC110  # the job does not wait for it
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)

    bench.outbox = Slow()
    await bench.runner().execute(bench.message)
    statuses = [await bench.codec.decode("task.status", sent.value) for sent in bench.outbox.to("task.status")]
    assert [s.state for s in statuses if isinstance(s, TaskStatus)] == ["running", "done"]


async def test_a_status_that_cannot_be_told_while_it_runs_does_not_stop_it(bench: Bench) -> None:
    class Refuses(Outbox):
        async def before(self, topic: str) -> None:
            if topic == "task.status" and not self.to("summary.ready"):
                raise Unavailable("the producer is closed")

    bench.outbox = Refuses()
    await bench.runner().execute(bench.message)
    assert (await bench.job())["state"] == "done"
    assert len(bench.outbox.to("task.status")) == 1


@pytest.mark.parametrize("unconfirmed", ["the event", "what its calls have cost"])
async def test_a_job_is_not_done_before_kafka_has_all_of_it(bench: Bench, unconfirmed: str) -> None:
    asked, confirms = asyncio.Event(), asyncio.Event()

    async def confirmed() -> None:
        asked.set()
        await confirms.wait()

    class SlowOutbox(Outbox):
        async def before(self, topic: str) -> None:
            if topic == "summary.ready":
                await confirmed()

    class SlowLedger(FakeLedger):
        async def settle(
            self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD, linger: bool = False
        ) -> None:
            await confirmed()
            await super().settle(request_id, account=account, scope=scope, actual=actual)

    if unconfirmed == "the event":
        bench.outbox = SlowOutbox()
    else:
        bench.ledger = SlowLedger()
    job = asyncio.create_task(bench.runner().execute(bench.message))
    await asked.wait()
    ended, _ = await asyncio.wait([job], timeout=0.5)
    assert not ended, "the record may be acknowledged now"
    assert (await bench.job())["state"] == "running"
    told = await bench.database.fetch("SELECT told_ledger FROM calls WHERE share_id = $1", bench.share)
    assert [row["told_ledger"] for row in told] == [False]
    confirms.set()
    await job
    assert (await bench.job())["state"] == "done"
