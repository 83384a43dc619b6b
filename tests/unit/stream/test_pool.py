"""The pool against a stream made by hand: the same order and the same redeliveries that Kafka can produce."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from aiokafka.errors import IllegalStateError

from millrace.clock import ManualClock, SystemClock
from millrace.kafka.records import Message, Partition
from millrace.stream.health import Offsets, TailWatch, Watch
from millrace.stream.pool import JobPool
from millrace.telemetry.metrics import LAG
from tests.support.waiting import eventually

AT, OTHER = Partition("media.ready", 0), Partition("media.ready", 1)
pytestmark = pytest.mark.timeout(10)


@dataclass
class Raw:
    offset: int
    key: bytes | None = b"k"
    generation_id: int = 1
    topic: str = AT.topic
    partition: int = AT.partition
    value: bytes | None = b"v"
    headers: Mapping[str, bytes | None] | list[tuple[str, bytes | None]] | None = None


@dataclass
class Event:
    message: Raw
    acked: list[int]

    def ack(self) -> None:
        self.acked.append(self.message.offset)


@dataclass
class FakeSource:
    at: int = 1
    active: bool = True
    begin: dict[Partition, int] = field(default_factory=dict)

    def generation(self) -> int:
        return self.at

    def flowing(self) -> bool:
        return self.active

    def starts(self) -> Mapping[Partition, int]:
        return self.begin


class Feed:
    """A stream that delivers what the test puts into it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue()
        self.acked: list[int] = []

    def put(self, *offsets: int, key: bytes = b"k", generation: int = 1) -> None:
        for offset in offsets:
            self.queue.put_nowait(Event(Raw(offset, key, generation), self.acked))

    def noack(self) -> Feed:
        return self

    async def events(self) -> AsyncIterator[Event]:
        while True:
            yield await self.queue.get()


class Bench:
    """A pool whose jobs end when the test says so."""

    def __init__(self, concurrency: int = 2, prefetch: int = 2) -> None:
        self.feed, self.source = Feed(), FakeSource()
        self.started: list[int] = []
        self.messages: list[Message] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.gaps: list[tuple[int, int]] = []
        self.pool = JobPool(
            self.job,
            self.source,
            ManualClock(datetime(2026, 1, 1, tzinfo=UTC)),
            concurrency=concurrency,
            prefetch=prefetch,
            on_gap=self.gap,
        )
        self.pump = asyncio.create_task(self.pool.pump(self.feed))

    def gap(self, at: Partition, want: int, got: int) -> None:
        self.gaps.append((want, got))

    async def job(self, message: Message) -> None:
        self.started.append(message.offset)
        self.messages.append(message)
        await self.gates.setdefault(message.offset, asyncio.Event()).wait()

    def end(self, *offsets: int) -> None:
        for offset in offsets:
            self.gates.setdefault(offset, asyncio.Event()).set()

    async def settle(self) -> None:
        for _ in range(30):
            await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.pump.cancel()
    await made.pool.drain(0)
    await asyncio.gather(made.pump, return_exceptions=True)


async def test_jobs_of_one_key_run_one_after_another_and_others_beside_them(bench: Bench) -> None:
    bench.feed.put(0, 1, key=b"a")
    bench.feed.put(2, key=b"b")
    await bench.settle()
    assert bench.started == [0, 2]
    bench.end(0)
    await bench.settle()
    assert bench.started == [0, 2, 1]


async def test_a_finished_job_is_not_acknowledged_before_the_one_in_front_of_it(bench: Bench) -> None:
    bench.feed.put(0, key=b"a")
    bench.feed.put(1, key=b"b")
    bench.end(1)
    await bench.settle()
    assert bench.feed.acked == []
    bench.end(0)
    await bench.settle()
    assert bench.feed.acked == [0, 1]


async def test_the_fetch_waits_when_the_pool_is_full(bench: Bench) -> None:
    for offset in range(10):
        bench.feed.put(offset, key=str(offset).encode())
    await bench.settle()
    assert len(bench.started) == 2
    assert bench.pool.held == 4
    assert not bench.pool.idle
    bench.end(*range(10))
    await bench.settle()
    assert bench.feed.acked == list(range(10))


async def test_a_hole_in_the_offsets_is_reported_and_nothing_behind_it_is_taken(bench: Bench) -> None:
    bench.feed.put(0, 2)
    bench.end(0, 2)
    await bench.settle()
    assert bench.gaps == [(1, 2)]
    assert bench.feed.acked == [0]
    assert bench.started == [0]


async def test_records_fetched_before_a_rebalance_are_left_for_their_redelivery(bench: Bench) -> None:
    bench.source.at = 2
    bench.feed.put(0, generation=1)
    await bench.settle()
    assert bench.started == []
    bench.feed.put(0, generation=2)
    bench.end(0)
    await bench.settle()
    assert bench.feed.acked == [0]


async def test_a_job_that_outlives_a_rebalance_runs_once_and_acknowledges_the_redelivery(bench: Bench) -> None:
    bench.feed.put(0)
    await bench.settle()
    bench.pool.revoke([AT])
    bench.source.at = 2
    bench.feed.put(0, generation=2)
    await bench.settle()
    bench.end(0)
    await bench.settle()
    assert bench.started == [0]
    assert bench.feed.acked == [0]


async def test_a_job_of_a_partition_that_went_elsewhere_acknowledges_nothing(bench: Bench) -> None:
    bench.feed.put(0)
    await bench.settle()
    bench.pool.revoke([AT])
    bench.end(0)
    await bench.settle()
    assert bench.feed.acked == []


async def test_draining_waits_then_cancels_without_acknowledging(bench: Bench) -> None:
    bench.feed.put(0, key=b"a")
    bench.feed.put(1, key=b"b")
    await bench.settle()
    bench.end(0)
    assert await bench.pool.drain(0.05) == 1
    assert bench.feed.acked == [0]


async def test_draining_begins_no_job_that_only_waits_for_a_place(bench: Bench) -> None:
    for offset in range(4):
        bench.feed.put(offset, key=str(offset).encode())
    await bench.settle()
    draining = asyncio.create_task(bench.pool.drain(5))
    await bench.settle()
    bench.end(*range(4))
    assert await draining == 2
    assert bench.started == [0, 1]
    assert bench.feed.acked == [0, 1]


async def test_a_header_without_a_value_is_an_empty_one(bench: Bench) -> None:
    bench.feed.queue.put_nowait(Event(Raw(0, headers=[("a", None), ("b", b"1")]), bench.feed.acked))
    await bench.settle()
    assert bench.messages[0].headers == {"a": b"", "b": b"1"}


async def test_a_rebalance_is_not_taken_for_a_hole_at_the_tail(bench: Bench) -> None:
    """Meanwhile fetch positions are those of the old assignment, and what was expected is forgotten."""
    bench.feed.put(0)
    bench.end(0)
    await bench.settle()
    tail = TailWatch(bench.pool, bench.gap)
    bench.pool.revoke([AT])
    bench.source.active = False
    for _ in range(3):
        tail.look({AT: 1})
    assert bench.gaps == []


async def test_a_hole_at_the_tail_is_found_at_the_second_look(bench: Bench) -> None:
    tail = TailWatch(bench.pool, bench.gap)
    tail.look({AT: 3})
    assert bench.gaps == []
    tail.look({AT: 3})
    assert bench.gaps == [(0, 3)]


async def test_a_partition_that_is_revoked_during_a_look_does_not_end_the_watch(bench: Bench) -> None:
    class Revoked(Offsets):
        looks = 0

        async def positions(self) -> Mapping[Partition, int]:
            self.looks += 1
            if self.looks == 1:
                raise IllegalStateError("Partition is not assigned")
            return {AT: 3}

        def end(self, at: Partition) -> int:
            return 0

        async def committed(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
            return {}

    tail = TailWatch(bench.pool, bench.gap)
    watch = Watch("media", bench.pool, Revoked(), tail, SystemClock())
    watching = asyncio.create_task(watch.run(every_s=0.01))
    async with asyncio.timeout(5):
        while not bench.gaps:
            await asyncio.sleep(0.01)
            assert not watching.done()
    watching.cancel()


async def test_the_lag_of_a_partition_that_others_have_now_is_not_shown(bench: Bench) -> None:
    class Assigned(Offsets):
        now: tuple[Partition, ...] = (AT, OTHER)

        async def positions(self) -> Mapping[Partition, int]:
            return dict.fromkeys(self.now, 0)

        def end(self, at: Partition) -> int:
            return 7

        async def committed(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
            return {}

    def lags() -> dict[str, float]:
        (family,) = LAG.collect()
        return {one.labels["partition"]: one.value for one in family.samples if one.labels["topic"] == AT.topic}

    offsets = Assigned()
    watch = Watch("media", bench.pool, offsets, TailWatch(bench.pool, bench.gap), SystemClock())
    watching = asyncio.create_task(watch.run(every_s=0.01))
    await eventually(lambda: lags() == {"0": 7, "1": 7}, "both lags")
    offsets.now = (OTHER,)
    await eventually(lambda: lags() == {"1": 7}, "the lag of the other one alone")
    offsets.now = (AT, OTHER)
    await eventually(lambda: lags() == {"0": 7, "1": 7}, "both lags again")
    watching.cancel()


@pytest.mark.parametrize(("value", "is_tombstone"), [(None, True), (b"", False), (b"v", False)])
async def test_a_record_without_a_value_is_told_from_an_empty_one(
    bench: Bench, value: bytes | None, is_tombstone: bool
) -> None:
    bench.feed.queue.put_nowait(Event(Raw(0, value=value), bench.feed.acked))
    await bench.settle()
    (message,) = bench.messages
    assert (message.value, message.is_tombstone) == (value or b"", is_tombstone)
