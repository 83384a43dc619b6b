"""Dead letters that cannot be kept as they are do not stop those behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from secrets import token_hex

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from millrace.cluster import Cluster
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from services.api_gateway.dead_projection import DeadLetterProjection

TOPIC = "summarize.dead"


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database, size=2) as opened:
        yield opened


def record(offset: int, **evidence: str) -> ConsumerRecord:
    headers = [(f"millrace-{name}", text.encode()) for name, text in evidence.items()]
    return ConsumerRecord(TOPIC, 0, offset, 1_700_000_000_000, 0, b"key", b"value", None, 3, 5, headers)


async def kept(pool: asyncpg.Pool[asyncpg.Record]) -> list[int]:
    return [row["offset"] for row in await pool.fetch('SELECT "offset" FROM dead_letters ORDER BY "offset"')]


async def test_evidence_that_no_index_takes_is_cut(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    long = token_hex(20_000)
    await DeadLetterProjection(pool, Cluster(""), ())._keep([record(0), record(1, share=long, error=long)])
    assert await kept(pool) == [0, 1]
    row = await pool.fetchrow("SELECT share_id, error FROM dead_letters WHERE share_id IS NOT NULL")
    assert row is not None
    assert (row["share_id"], row["error"]) == (long[:300], long[:300])


async def test_a_letter_that_cannot_be_kept_is_left_out_and_named_without_its_content(
    pool: asyncpg.Pool[asyncpg.Record], caplog: pytest.LogCaptureFixture
) -> None:
    await pool.execute("ALTER TABLE dead_letters ADD CHECK (reason <> 'private')")
    letters = [record(0), record(1, reason="private"), record(2)]
    with caplog.at_level(logging.ERROR):
        await DeadLetterProjection(pool, Cluster(""), ())._keep(letters)
    assert await kept(pool) == [0, 2]
    assert "summarize.dead-0@1" in caplog.text
    assert "private" not in caplog.text
