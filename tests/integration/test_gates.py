"""What many jobs wait for at once: one of them tries, and the rest follow it; on the real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from millrace.errors import Refusal, Retryable
from millrace.kafka.records import Message, Partition
from millrace.models.port import Paid
from millrace.money import MicroUSD
from millrace.store.database import Database, Record
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.store.waiting import MOST_UNDER_WAY, Waiting, WaitingStore
from millrace.stream.breaker import DOWN_AFTER
from millrace.stream.gates import Gates
from millrace.stream.incoming import GATE_HEADER, PLACE_HEADER
from millrace.testing.ledger import FakeLedger
from millrace.testing.registry import codec_in_memory
from tests.support.database import own_database
from tests.support.job_bench import Bench
from tests.support.toy_stage import Text

LEASE = timedelta(seconds=30)
MODEL_GATE = "model:toy"
BUDGET_GATE = "budget:default"


class Provider:
    """Fails as long as it is told to."""

    def __init__(self) -> None:
        self.error: Retryable | None = None
        self.calls = 0

    async def bill(self) -> Paid[Text]:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return Paid(Text(text="short"), MicroUSD(7))


class Line:
    """Shares of one stage, its provider and its ledger; each job runs on a worker that looks at the gates first."""

    def __init__(self, database: Database, codec: Codec) -> None:
        self.database, self.codec = database, codec
        self.provider, self.ledger = Provider(), FakeLedger()
        self.waiting = WaitingStore(database, "summarize")
        self._gates = Gates("summarize", self.waiting)
        self.benches: dict[str, Bench] = {}

    def share(self) -> Bench:
        bench = Bench(self.database, self.codec)
        bench.ledger = self.ledger
        bench.toy._bill = self.provider.bill  # type: ignore[method-assign]  # one provider for all
        self.benches[bench.share] = bench
        return bench

    async def run(self, bench: Bench, message: Message | None = None) -> Record:
        """Its job's row afterwards."""
        runner = bench.runner(gates=self._gates)
        await self._gates.look()
        await runner.execute(message or bench.message)
        return await bench.job()

    async def run_new(self, count: int = 1) -> list[Record]:
        """Jobs of so many new shares, one after another."""
        return [await self.run(self.share()) for _ in range(count)]

    async def take(self) -> list[Waiting]:
        """What the mover publishes now."""
        taken = await self.waiting.take(LEASE)
        for message in taken:
            await self.waiting.delivered(message)
        return list(taken)

    async def let_through(self, waiting: Waiting) -> Record:
        headers = {GATE_HEADER: str(waiting.gate).encode(), PLACE_HEADER: str(waiting.place).encode()}
        message = Message(Partition(waiting.topic, 0), 0, waiting.key, waiting.value, headers)
        return await self.run(self.benches[waiting.share_id], message)

    async def all_let_through(self) -> list[int]:
        """Let through what the gate lets through, until nobody is left; how many each time."""
        counts = []
        while taken := await self.take():
            counts.append(len(taken))
            for waiting in taken:
                await self.let_through(waiting)
        return counts

    async def time_passes(self, how_long: timedelta = timedelta(minutes=10)) -> None:
        await self.database.execute("UPDATE waiting SET due = due - $1::interval", how_long)
        await self.database.execute("UPDATE gates SET until = until - $1::interval", how_long)

    async def pause_s(self) -> float:
        row = await self.database.fetchrow("SELECT until - now() AS rest FROM gates WHERE name = $1", MODEL_GATE)
        assert row is not None
        seconds: float = row["rest"].total_seconds()
        return seconds


@pytest.fixture(scope="module")
async def gate_database(stack: Addresses) -> AsyncIterator[str]:
    """Of this module alone: a gate stands for all of a stage's jobs."""
    async with own_database(stack.postgres) as url:
        migrate(url)
        yield url


@pytest.fixture
async def line(gate_database: str) -> AsyncIterator[Line]:
    async with open_pool(gate_database) as pool:
        await pool.execute("TRUNCATE gates, waiting")
        yield Line(Database(pool), await codec_in_memory())


async def down(line: Line, *, retry_after_s: float | None = None) -> list[Record]:
    """The provider has failed so often that it is left alone."""
    line.provider.error = Retryable("HTTP 503", retry_after_s=retry_after_s)
    return await line.run_new(DOWN_AFTER)


async def test_a_provider_that_fails_is_left_alone_and_burns_no_further_attempts(line: Line) -> None:
    rows = await down(line)
    assert [row["attempt"] for row in rows] == [1] * (DOWN_AFTER - 1) + [0]
    asked = len(line.ledger.asked)

    (later,) = await line.run_new()

    assert line.provider.calls == DOWN_AFTER
    assert len(line.ledger.asked) == asked, "no money is asked for in vain"
    assert (later["state"], later["attempt"]) == ("waiting", 0)
    assert "toy does not work at present" in later["reason"]
    assert later["resume_at"] > datetime.now(UTC)


async def test_a_success_in_between_starts_the_count_again(line: Line) -> None:
    line.provider.error = Retryable("HTTP 503")
    await line.run_new(DOWN_AFTER - 1)
    line.provider.error = None
    await line.run_new()
    line.provider.error = Retryable("HTTP 503")
    rows = await line.run_new(DOWN_AFTER - 1)
    assert [row["attempt"] for row in rows] == [1] * (DOWN_AFTER - 1)


async def test_one_tries_after_the_pause_and_the_rest_follow_it_more_and_more(line: Line) -> None:
    await down(line)
    await line.run_new(12)
    assert line.provider.calls == DOWN_AFTER
    line.provider.error = None
    await line.database.execute("DELETE FROM waiting WHERE gate IS NULL")  # those wait for a time of their own

    assert await line.all_let_through() == [], "not before the pause is over"
    await line.time_passes()
    assert await line.all_let_through() == [1, 2, 4, 6]
    assert line.provider.calls == DOWN_AFTER + 13
    (new,) = await line.run_new()
    assert new["state"] == "done"


async def test_a_newcomer_does_not_overtake_the_one_that_tries(line: Line) -> None:
    await down(line)
    line.provider.error = None
    await line.time_passes()
    (new,) = await line.run_new()
    assert new["state"] == "waiting"
    assert line.provider.calls == DOWN_AFTER


async def test_each_try_in_vain_doubles_the_pause_and_counts_for_nobody(line: Line) -> None:
    await down(line)
    await line.run_new(3)
    await line.database.execute("DELETE FROM waiting WHERE gate IS NULL")
    tried = []
    for seconds in (10, 20, 40, 80):
        assert seconds - 2 < await line.pause_s() <= seconds
        await line.time_passes()
        (one,) = await line.take()
        assert await line.take() == []
        tried.append(one.share_id)
        assert (await line.let_through(one))["attempt"] == 0
    assert len(set(tried)) == 4, "not always the same, who may be the cause"
    assert line.provider.calls == DOWN_AFTER + 4


async def test_after_another_failure_one_tries_again_however_many_had_been_let_through(line: Line) -> None:
    await down(line)
    await line.run_new(12)
    await line.database.execute("DELETE FROM waiting WHERE gate IS NULL")
    line.provider.error = None
    await line.time_passes()
    for _ in range(2):  # one, then two
        for waiting in await line.take():
            await line.let_through(waiting)
    under_way = await line.take()
    assert len(under_way) == 4
    line.provider.error = Retryable("HTTP 503")
    for waiting in under_way:
        await line.let_through(waiting)
    await line.time_passes()
    assert len(await line.take()) == 1
    assert await line.take() == []


async def test_a_provider_is_given_the_time_that_it_asks_for(line: Line) -> None:
    await down(line, retry_after_s=120)
    assert 118 < await line.pause_s() <= 120


async def test_who_dies_with_the_try_is_followed_by_another_a_little_later(line: Line) -> None:
    await down(line)
    await line.run_new(2)
    await line.time_passes()
    taken = [waiting for waiting in await line.take() if waiting.gate]
    assert len(taken) == 1
    assert not [waiting for waiting in await line.take() if waiting.gate]
    await line.database.execute("UPDATE gates SET moved_at = moved_at - interval '31 s'")
    assert len([waiting for waiting in await line.take() if waiting.gate]) == 1


async def test_a_refused_budget_is_asked_once_for_all_that_need_as_much(line: Line) -> None:
    room_at = datetime.now(UTC) + timedelta(minutes=9)
    line.ledger.answer = Refusal("hour:summarize", MicroUSD(10), MicroUSD(3), MicroUSD(100), room_at)
    rows = await line.run_new(6)
    assert len(line.ledger.asked) == 1
    assert {(row["state"], row["resume_at"], row["needed_micro_usd"]) for row in rows} == {("parked", room_at, 10)}

    await line.time_passes()
    (first,) = await line.take()
    row = await line.let_through(first)
    assert len(line.ledger.asked) == 2
    assert row["state"] == "parked"
    assert await line.take() == [], "the others are not asked for"

    line.ledger.answer = None
    await line.time_passes()
    assert await line.all_let_through() == [1, 2, 3]
    assert line.provider.calls == 6


async def test_a_job_refused_again_keeps_its_place(line: Line) -> None:
    room_at = datetime.now(UTC) + timedelta(minutes=9)
    line.ledger.answer = Refusal("hour:summarize", MicroUSD(10), MicroUSD(3), MicroUSD(100), room_at)
    await line.run_new(3)
    shares = list(line.benches)
    for _ in range(3):
        await line.time_passes()
        (first,) = await line.take()
        assert first.share_id == shares[0]
        await line.let_through(first)


async def test_what_no_budget_will_ever_have_stops_nobody(line: Line) -> None:
    line.ledger.answer = Refusal("hour:summarize", MicroUSD(10), MicroUSD(3), MicroUSD(3), None)
    (dear,) = await line.run_new()
    assert (dear["state"], dear["resume_at"]) == ("parked", None)
    assert "never" in dear["reason"]
    line.ledger.answer = None
    (cheap,) = await line.run_new()
    assert cheap["state"] == "done"


async def test_no_more_than_so_many_are_under_way_at_once(line: Line) -> None:
    await line.database.execute(
        "INSERT INTO gates (stage, name, until, allowed, closings) VALUES ('summarize', $1, now(), $2, 0)",
        BUDGET_GATE,
        MOST_UNDER_WAY,
    )
    await line.database.execute(
        """
        INSERT INTO waiting (due, stage, share_id, account, scope, topic, value, gate)
        SELECT now(), 'summarize', 'crowd-' || n, 'default', 'summarize', 't', '', $1 FROM generate_series(1, 99) AS n
        """,
        BUDGET_GATE,
    )
    assert len(await line.take()) == MOST_UNDER_WAY
    assert await line.take() == []
    for _ in range(3):
        await line.waiting.passed(BUDGET_GATE)
    assert len(await line.take()) == 3
