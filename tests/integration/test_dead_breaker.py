"""A stage of which too many jobs end as dead letters takes nothing new, and tries one now and then."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from prometheus_client import REGISTRY

from millrace.contracts.dead import DEAD_GATE
from millrace.kafka.records import Message, Partition
from millrace.store.database import Database
from millrace.store.dead_gate import DeadGateStore
from millrace.store.waiting import WaitingStore
from millrace.stream import dead_breaker
from millrace.stream.dead_breaker import DeadLetterBreaker
from millrace.stream.dead_ratio import DeadLimit
from millrace.stream.gates import Gates

STAGE = "media"  # no other test of this database closes its gates
LIMIT = DeadLimit(share=0.5, last=10, least=4)
numbers = itertools.count()


@pytest.fixture
async def database_without_gates(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setattr(dead_breaker, "LOOK_EVERY_S", 0.01)
    await database.execute("DELETE FROM gates WHERE stage = $1", STAGE)
    return database


@pytest.fixture
async def breaker(database_without_gates: Database) -> DeadLetterBreaker:
    return (await worker(database_without_gates))[0]


async def worker(database: Database) -> tuple[DeadLetterBreaker, Gates]:
    """What a worker has that starts now."""
    gates = Gates("media", WaitingStore(database, "media"))
    await gates.look()
    return DeadLetterBreaker(gates, DeadGateStore(database, "media"), LIMIT), gates


def record() -> Message:
    return Message(Partition("share.created", 0), next(numbers), b"k", b"v", {})


async def end(breaker: DeadLetterBreaker, *, dead: bool) -> None:
    message = record()
    async with asyncio.timeout(5):
        await breaker.hold(message)
    await breaker.ended(message, dead=dead)


async def held(breaker: DeadLetterBreaker, message: Message) -> bool:
    """Whether a record's job may not begin."""
    task = asyncio.create_task(breaker.hold(message))
    await asyncio.wait([task], timeout=0.3)
    if task.done():
        return False
    task.cancel()
    await asyncio.wait([task])
    return True


async def pause_is_over(database: Database) -> None:
    await database.execute("UPDATE gates SET until = now() WHERE stage = $1 AND name = $2", STAGE, DEAD_GATE)


async def closings(database: Database) -> int:
    row = await database.fetchrow("SELECT closings FROM gates WHERE stage = $1 AND name = $2", STAGE, DEAD_GATE)
    assert row is not None
    return int(row["closings"])


async def test_it_closes_when_most_jobs_end_as_dead_letters_and_says_so(breaker: DeadLetterBreaker) -> None:
    for dead in (False, True, True):
        await end(breaker, dead=dead)
    assert breaker.closed() is None
    assert REGISTRY.get_sample_value("ml_stage_paused", {"stage": STAGE}) == 0
    assert not await held(breaker, record())
    await end(breaker, dead=True)
    assert REGISTRY.get_sample_value("ml_stage_paused", {"stage": STAGE}) == 1
    sentence = breaker.closed()
    assert sentence is not None
    assert "`millrace dead list --stage media`; one job is tried at " in sentence
    assert await held(breaker, record())


async def test_one_job_is_tried_after_the_pause_and_a_good_end_opens(
    breaker: DeadLetterBreaker, database_without_gates: Database
) -> None:
    database = database_without_gates
    other, seen = await worker(database)
    for _ in range(4):
        await end(breaker, dead=True)
    await seen.look()
    assert other.closed() is not None, "it is closed for all workers"
    restarted, _ = await worker(database)
    assert await held(restarted, record()), "also for one that starts now"

    await pause_is_over(database)
    tried = record()
    assert not await held(breaker, tried)
    assert await held(other, record()), "one at a time"
    await breaker.ended(tried, dead=True)
    assert await closings(database) == 2
    assert await held(breaker, record()), "for longer than before"

    await pause_is_over(database)
    idle, tried = record(), record()
    assert not await held(other, idle)
    await other.unused(idle)
    assert not await held(breaker, tried), "what had nothing to try leaves the place to another"
    await breaker.ended(tried, dead=False)
    await breaker._gates.look()
    assert breaker.closed() is None
    assert not await held(breaker, record())
    for _ in range(3):
        await end(breaker, dead=True)
    assert breaker.closed() is None, "it is judged anew"


async def test_jobs_that_had_begun_before_neither_open_nor_lengthen_the_pause(
    breaker: DeadLetterBreaker, database_without_gates: Database
) -> None:
    begun = [record() for _ in range(4)]
    for message in begun:
        await breaker.hold(message)
    for _ in range(4):
        await end(breaker, dead=True)
    for number, message in enumerate(begun):
        await breaker.ended(message, dead=bool(number % 2))
    assert await closings(database_without_gates) == 1
    assert breaker.closed() is not None
