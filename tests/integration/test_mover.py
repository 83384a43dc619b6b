"""The mover: what waits is removed only when its wake-up call is out; on the real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from millrace.clock import SystemClock
from millrace.kafka.records import Header
from millrace.store import waiting
from millrace.store.database import Database
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.store.waiting import Waiting, WaitingStore
from millrace.stream.gates import Gates
from millrace.stream.mover import move_waiting
from millrace.stream.writer import Writer
from millrace.testing.registry import codec_in_memory


class Broker:
    """Confirms a message when it is allowed to."""

    def __init__(self) -> None:
        self.asked, self.confirms = asyncio.Event(), asyncio.Event()
        self.values: list[bytes] = []

    async def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes | None,
        headers: Sequence[Header],
        partition: int | None = None,
        linger: bool = False,
    ) -> None:
        self.asked.set()
        await self.confirms.wait()
        self.values.append(value or b"")


@pytest.fixture
async def store(empty_database: str) -> AsyncIterator[WaitingStore]:
    """Of a database of its own: a mover takes all that waits for its stage."""
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database) as pool:
        yield WaitingStore(Database(pool), "embed")


async def put(store: WaitingStore, value: bytes = b"the command") -> None:
    message = Waiting(timedelta(0), "embed", "share", "a", "embed.requested", b"share", value)
    await store._db.transaction(lambda connection: waiting.put(connection, message))


@asynccontextmanager
async def mover(store: WaitingStore, broker: Broker) -> AsyncIterator[None]:
    """Runs inside, and dies at the end."""
    writer = Writer(broker, await codec_in_memory(), SystemClock(), source="test", partitions={})
    moving = asyncio.create_task(move_waiting(Gates("embed", store), store, writer))
    try:
        yield
    finally:
        moving.cancel()
        await asyncio.wait([moving])


async def rows(store: WaitingStore) -> int:
    return len(await store._db.fetch("SELECT FROM waiting"))


async def test_a_mover_that_dies_before_kafka_has_confirmed_leaves_the_message_to_the_next(
    store: WaitingStore,
) -> None:
    await put(store)
    dies, next_one = Broker(), Broker()
    async with mover(store, dies), asyncio.timeout(10):
        await dies.asked.wait()
        assert await rows(store) == 1
    assert await rows(store) == 1

    await store._db.execute("UPDATE waiting SET due = now()")  # the dead one's hold on it runs out
    next_one.confirms.set()
    async with mover(store, next_one), asyncio.timeout(10):
        while await rows(store):  # noqa: ASYNC110  # a row tells nobody that it is gone
            await asyncio.sleep(0.01)
    assert next_one.values == [b"the command"]


async def test_what_replaces_a_message_while_it_goes_out_goes_out_too(store: WaitingStore) -> None:
    await put(store)
    broker = Broker()
    async with mover(store, broker), asyncio.timeout(10):
        await broker.asked.wait()
        await put(store, b"a newer command")
        broker.confirms.set()
        while await rows(store):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)
    assert broker.values == [b"the command", b"a newer command"]
