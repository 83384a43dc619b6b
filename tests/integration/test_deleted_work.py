"""A worker and a share that is deleted: while it works, before it begins, and when it is asked again later."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from millrace.contracts.events import ShareCreated
from millrace.errors import Deferred, Poison, Retryable
from millrace.kafka.records import Message, Partition
from millrace.models.port import Paid
from millrace.money import MicroUSD
from millrace.store.database import Connection, Database, Record
from millrace.store.deletion import delete, erase
from millrace.stream.stage import Plan, Run
from tests.integration.test_cancel import TwoCalls, watching
from tests.support.dying import Died
from tests.support.gateway_acts import asked_anew, queue
from tests.support.job_bench import Bench
from tests.support.outbox import Sent
from tests.support.toy_stage import Text

pytestmark = pytest.mark.timeout(60)


async def deleted(bench: Bench) -> None:
    """As the gateway deletes the share of a bench."""

    async def body(connection: Connection) -> None:
        removed = await delete(connection, bench.share, "o")
        await erase(connection, removed.works)

    await bench.database.transaction(body)


async def rows(bench: Bench) -> int:
    sql = "SELECT count(*) AS n FROM jobs WHERE share_id = $1"
    row = await bench.database.fetchrow(sql, bench.share)
    waiting = await bench.waiting()
    assert row is not None
    return int(row["n"]) + len(waiting)


async def results(bench: Bench) -> list[object]:
    """Of the work that was done for the share, and of its calls."""
    found = await bench.database.fetch(
        "SELECT result AS kept FROM work JOIN calls USING (work_key) WHERE share_id = $1 AND result IS NOT NULL "
        "UNION ALL SELECT answer FROM calls WHERE share_id = $1 AND answer IS NOT NULL",
        bench.share,
    )
    return [row["kept"] for row in found]


def last(bench: Bench, topic: str) -> Sent:
    return bench.outbox.to(topic)[-1]


async def erased(bench: Bench) -> None:
    """As the gateway looks at what was left, once nobody is at it."""
    works = await bench.database.fetch("SELECT DISTINCT work_key FROM calls WHERE share_id = $1", bench.share)
    await bench.database.transaction(lambda connection: erase(connection, [row["work_key"] for row in works]))


async def test_a_paid_call_ends_its_money_is_told_and_nothing_comes_of_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = TwoCalls()
    bench.toy.work = api.work  # type: ignore[method-assign]
    async with watching(bench, monkeypatch) as stops:
        running = asyncio.create_task(bench.runner(stops=stops).execute(bench.message))
        await asyncio.wait_for(api.called.wait(), 10)
        await deleted(bench)
        finished, _ = await asyncio.wait([running], timeout=0.3)
        assert not finished, "what is paid for is waited for"
        api.go.set()
        await asyncio.wait_for(running, 10)
    assert api.billed == [0]
    assert list(bench.ledger.ended.values()) == ["settled 7"]
    assert await rows(bench) == 0
    assert [sent.is_tombstone for sent in bench.outbox.to("summary.ready")] == [True]
    assert last(bench, "task.status").is_tombstone
    await erased(bench)
    assert await results(bench) == []


async def test_an_event_that_goes_out_while_the_share_is_deleted_is_taken_back(bench: Bench) -> None:
    async def before(topic: str) -> None:
        if topic == "summary.ready" and not bench.outbox.to(topic):
            await deleted(bench)

    bench.outbox.before = before  # type: ignore[method-assign]
    await bench.runner().execute(bench.message)
    assert [sent.is_tombstone for sent in bench.outbox.to("summary.ready")] == [False, True]
    assert last(bench, "task.status").is_tombstone
    assert (await rows(bench), await results(bench)) == (0, [])


async def test_a_worker_that_dies_before_it_takes_its_event_back_is_made_up_for(bench: Bench) -> None:
    async def before(topic: str) -> None:
        sent = bench.outbox.to("summary.ready")
        if topic == "summary.ready" and len(sent) == 0:
            await deleted(bench)
        elif topic == "summary.ready" and len(sent) == 1:
            raise Died

    bench.outbox.before = before  # type: ignore[method-assign]
    with pytest.raises(Died):
        await bench.runner(owner="first").execute(bench.message)
    assert not last(bench, "summary.ready").is_tombstone
    del bench.outbox.before
    await bench.runner(owner="second").execute(bench.message)
    assert last(bench, "summary.ready").is_tombstone
    assert bench.toy.billed == 1


@pytest.mark.parametrize("way", ["event", "command", "replay"])
async def test_no_record_brings_it_back(bench: Bench, way: str) -> None:
    await queue(bench, "summarize", "embed")
    await deleted(bench)
    later = datetime.now(UTC) + timedelta(days=1)
    message = bench.message if way == "event" else await asked_anew(bench, later)
    if way == "replay":
        other = Bench(bench.database, bench.codec)
        await other.runner().execute(other.message)
    await bench.runner().execute(message)
    assert (bench.toy.billed, bench.ledger.asked, await rows(bench)) == (0, [], 0)
    assert [sent.is_tombstone for sent in bench.outbox.to("summary.ready")] == [True]
    assert bench.outbox.to("summarize.dead") == []


async def test_a_deletion_between_a_look_and_the_start_calls_nothing(bench: Bench) -> None:
    class Between(Database):
        async def fetch(self, sql: str, *args: object) -> Sequence[Record]:
            found = await super().fetch(sql, *args)
            if "deleted_shares" in sql and not found:
                await deleted(bench)
            return found

    message = await asked_anew(bench, datetime.now(UTC))
    await bench.runner(Between(bench.database.pool)).execute(message)
    assert (bench.toy.billed, await rows(bench)) == (0, 0)
    assert bench.outbox.to("summary.ready")[-1].is_tombstone


@pytest.mark.parametrize("error", [Retryable("busy"), Poison("broken"), Deferred("waits for others", timedelta(1))])
async def test_a_try_that_fails_leaves_nothing_behind(bench: Bench, error: Exception) -> None:
    async def work(plan: Plan[ShareCreated], run: Run) -> Text:
        await deleted(bench)
        raise error

    bench.toy.work = work  # type: ignore[method-assign]
    await bench.runner().execute(bench.message)
    assert await rows(bench) == 0
    assert bench.outbox.to("summarize.dead") == []
    assert last(bench, "summary.ready").is_tombstone


async def test_what_a_dead_worker_left_open_is_told_to_the_ledger(bench: Bench) -> None:
    async def dies(plan: Plan[ShareCreated], run: Run) -> Text:
        return await run.call(0, Text, model="toy", hold=MicroUSD(10), do=die)

    async def die() -> Paid[Text]:
        raise Died

    bench.toy.work = dies  # type: ignore[method-assign]
    with pytest.raises(Died):
        await bench.runner(owner="first").execute(bench.message)
    await deleted(bench)
    await bench.expire_leases()
    await bench.runner(owner="second").execute(bench.message)
    assert list(bench.ledger.ended.values()) == ["unknown"]
    assert await rows(bench) == 0


async def test_the_same_content_shared_again_is_bought_again_once(bench: Bench) -> None:
    text = f"shared, deleted, and shared again {uuid.uuid4()}"
    first, second, third = (Bench(bench.database, bench.codec, text) for _ in range(3))
    second.toy, second.ledger = third.toy, third.ledger = first.toy, first.ledger
    for _ in range(4):  # more often than a call may be tried
        one = Bench(bench.database, bench.codec, text)
        one.toy, one.ledger = first.toy, first.ledger
        await one.runner().execute(one.message)
        await deleted(one)
    assert first.toy.billed == 4
    for one in (second, third):
        await one.runner().execute(one.message)
        assert (await one.job())["state"] == "done"
    assert first.toy.billed == 5
    sql = "SELECT cost_micro_usd, result FROM work WHERE work_key = (SELECT work_key FROM jobs WHERE share_id = $1)"
    work = await bench.database.fetchrow(sql, third.share)
    assert work is not None
    assert work["result"] is not None
    assert work["cost_micro_usd"] == 7, "what was bought for others is no cost of it"
    assert list(first.ledger.ended.values()) == ["settled 7"] * 5


@pytest.mark.parametrize(("look", "billed"), [(1, 1), (2, 0)])
async def test_a_result_that_another_share_is_about_to_be_told_stays_or_is_made_anew(
    bench: Bench, look: int, billed: int
) -> None:
    """The share that had it first is deleted when the other one has read, for the first or the last time, that the
    work is done.
    """
    text = f"shared twice {uuid.uuid4()}"
    first, second = (Bench(bench.database, bench.codec, text) for _ in range(2))
    await first.runner().execute(first.message)

    class Between(Database):
        looks = 0

        async def fetchrow(self, sql: str, *args: object) -> Record | None:
            row = await super().fetchrow(sql, *args)
            if sql.startswith("SELECT result, cost_micro_usd") and row is not None:
                self.looks += 1
                if self.looks == look:
                    await deleted(first)
            return row

    await second.runner(Between(bench.database.pool)).execute(await asked_anew(second, datetime.now(UTC)))
    assert await rows(first) == 0
    assert (await second.job())["state"] == "done"
    sql = "SELECT result FROM work WHERE work_key = (SELECT work_key FROM jobs WHERE share_id = $1)"
    row = await bench.database.fetchrow(sql, second.share)
    assert row is not None
    assert row["result"] is not None, "else the share would be done without a result"
    assert second.toy.billed == billed


async def test_a_tombstone_is_no_work_and_no_dead_letter(bench: Bench) -> None:
    message = Message(Partition("share.created", 0), 6, bench.share.encode(), b"", {}, is_tombstone=True)
    await bench.runner().execute(message)
    assert bench.outbox.sent == []
    assert await rows(bench) == 0


async def test_only_its_own_jobs_are_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Bench(bench.database, bench.codec)
    async with watching(bench, monkeypatch) as stops:
        with stops.running(bench.share) as mine, stops.running(other.share) as others:
            await deleted(bench)
            async with asyncio.timeout(10):
                while not mine._asked:  # noqa: ASYNC110 - a stop tells nobody
                    await asyncio.sleep(0.01)
            assert not others._asked


async def test_many_that_work_and_are_deleted_at_once_leave_nothing_and_block_nobody(bench: Bench) -> None:
    text = f"shared by many {uuid.uuid4()}"
    many = [Bench(bench.database, bench.codec, text if number % 2 else None) for number in range(20)]
    kept = Bench(bench.database, bench.codec, text)
    for one in (*many, kept):
        one.ledger = bench.ledger
    await asyncio.gather(
        *(one.runner(owner=one.share).execute(one.message) for one in (*many, kept)), *(deleted(one) for one in many)
    )
    for one in many:
        assert await rows(one) == 0
    if await kept.waiting():  # for the lease of one that was deleted
        await kept.expire_leases()
        await kept.runner().execute(await kept.wake())
    assert (await kept.job())["state"] == "done"
    row = await bench.database.fetchrow(
        "SELECT result FROM work WHERE work_key = (SELECT work_key FROM jobs WHERE share_id = $1)", kept.share
    )
    assert row is not None
    assert row["result"] is not None
    assert bench.ledger.holds
    assert bench.ledger.holds.keys() <= bench.ledger.ended.keys(), "of all money that was granted the end is told"
