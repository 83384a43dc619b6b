"""The outbox and a broker that takes some messages and not others: what it is sent, and what stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import asyncpg
import pytest

from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from services.api_gateway.outbox import drain_once, enqueue
from services.api_gateway.ports import OutboxMessage, OutboxRow

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[Pool]:
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database, size=2) as opened:
        yield opened


@dataclass
class Choosy:
    """A broker that does not confirm some messages the first time; has what it took, in order."""

    fails: set[bytes]
    asked: list[list[bytes]] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)

    async def publish(self, rows: Sequence[OutboxRow]) -> Sequence[str | None]:
        values = [row.value or b"" for row in rows]
        self.asked.append(values)
        outcomes = ["timed out" if value in self.fails else None for value in values]
        self.taken += [value for value, outcome in zip(values, outcomes, strict=True) if outcome is None]
        self.fails -= set(self.asked[-1])
        return outcomes


async def write(pool: Pool, *values: bytes) -> None:
    """Messages whose key is the first letter."""
    async with pool.acquire() as connection:
        for value in values:
            await enqueue(connection, OutboxMessage("t", value[:1], value, {}))


async def left(pool: Pool) -> list[bytes]:
    return [row["value"] for row in await pool.fetch("SELECT value FROM outbox ORDER BY seq")]


async def test_nothing_is_sent_behind_an_unconfirmed_message_of_its_key(pool: Pool) -> None:
    broker = Choosy(fails={b"a1", b"c2"})
    await write(pool, b"a1", b"a2", b"b1", b"c1", b"b2", b"c2", b"c3", b"a3")
    async with pool.acquire() as connection:
        assert (await drain_once(connection, broker))[:3] == (8, 3, "timed out")
        assert await left(pool) == [b"a1", b"a2", b"c2", b"c3", b"a3"]
        while (await drain_once(connection, broker))[0]:
            pass
    for key in b"abc":
        assert [value for value in broker.taken if value[0] == key] == sorted(v for v in broker.taken if v[0] == key)
    assert sorted(broker.taken) == [b"a1", b"a2", b"a3", b"b1", b"b2", b"c1", b"c2", b"c3"]


async def test_a_broker_that_confirms_nothing_is_asked_once_a_round(pool: Pool) -> None:
    broker = Choosy(fails={b"a1", b"b1"})
    await write(pool, b"a1", b"b1", b"a2", b"b2")
    async with pool.acquire() as connection:
        assert (await drain_once(connection, broker))[:3] == (4, 0, "timed out")
    assert broker.asked == [[b"a1", b"b1"]]
    assert await left(pool) == [b"a1", b"b1", b"a2", b"b2"]
