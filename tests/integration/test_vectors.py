"""Vectors in a real PostgreSQL with pgvector."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import AsyncIterator
from importlib import import_module

import asyncpg
import pytest

from millrace.embedded.readyfile import Addresses
from millrace.ids import WorkKey
from millrace.models.port import Embedded, Use
from millrace.store.database import Database
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.store.vectors import drop_indexes, ensure_index, index_name, keeping_indexes
from services.embed_agent.adapters.pgvector import PgVectorStore
from services.embed_agent.batches import packed
from services.embed_agent.domain import SUMMARY_WEIGHT, Chunk
from tests.support.waiting import eventually


@pytest.fixture
async def pool(stack: Addresses) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    await asyncio.to_thread(migrate, stack.postgres)
    async with open_pool(stack.postgres) as pool:
        yield pool


@pytest.fixture
async def work(pool: asyncpg.Pool[asyncpg.Record]) -> AsyncIterator[WorkKey]:
    key = WorkKey(f"embed:{uuid.uuid4().hex}")
    await pool.execute("INSERT INTO work (work_key, stage) VALUES ($1, 'embed')", key)
    yield key
    await pool.execute("DELETE FROM work WHERE work_key = $1", key)


async def keep(store: PgVectorStore, key: WorkKey, *texts: str) -> None:
    chunks = [Chunk(text, tokens=len(text), start_ms=n, end_ms=n + 1) for n, text in enumerate(texts)]
    vectors = Embedded([[3.0, 4.0] for _ in chunks], Use())
    await store.keep("fake", packed(vectors, [chunk.content_hash for chunk in chunks]))
    await store.replace(key, "fake", chunks)


async def kept(pool: asyncpg.Pool[asyncpg.Record], key: WorkKey) -> list[tuple[object, ...]]:
    rows = await pool.fetch(
        "SELECT chunk_no, text, start_ms, tokens, embedding::text "
        "FROM chunks JOIN embeddings USING (model, content_hash) WHERE work_key = $1 ORDER BY chunk_no",
        key,
    )
    return [tuple(row) for row in rows]


async def test_vectors_are_kept_with_length_one(pool: asyncpg.Pool[asyncpg.Record], work: WorkKey) -> None:
    await keep(PgVectorStore(Database(pool)), work, "one", "three")
    assert await kept(pool, work) == [
        (0, "one", 0, 3, "[0.60009766,0.7998047]"),
        (1, "three", 1, 5, "[0.60009766,0.7998047]"),
    ]


async def composite(pool: asyncpg.Pool[asyncpg.Record], key: WorkKey) -> list[float]:
    rows = await pool.fetch("SELECT embedding::text FROM work_vectors WHERE work_key = $1", key)
    assert len(rows) == 1
    return [float(number) for number in rows[0]["embedding"].strip("[]").split(",")]


async def test_one_vector_stands_for_all_of_a_share(pool: asyncpg.Pool[asyncpg.Record], work: WorkKey) -> None:
    chunks = [Chunk("one", 1), Chunk("two", 1), Chunk("about", 1, embedding_type="summary")]
    made = {"one": [2.0, 0.0, 0.0], "two": [0.0, 5.0, 0.0], "about": [0.0, 0.0, 1.0]}
    embedded = Embedded([made[chunk.text] for chunk in chunks], Use())
    store = PgVectorStore(Database(pool))
    await store.keep("fake", packed(embedded, [chunk.content_hash for chunk in chunks]))
    for _ in range(2):
        await store.replace(work, "fake", chunks)
        rest = (1 - SUMMARY_WEIGHT) / 2
        expected = [rest, rest, SUMMARY_WEIGHT]
        length = math.hypot(*expected)
        assert await composite(pool, work) == pytest.approx([number / length for number in expected], abs=1e-3)
    await store.replace(work, "fake", chunks[:1])
    assert await composite(pool, work) == [1, 0, 0], "without a summary it is the passages' own"


async def test_what_was_embedded_before_is_stood_for_by_its_passages(empty_database: str) -> None:
    await asyncio.to_thread(migrate, empty_database)
    migration = import_module("millrace.store.migrations.versions.0017_work_vectors")
    async with open_pool(empty_database) as pool:
        await pool.execute("INSERT INTO work (work_key, stage) VALUES ('embed:1', 'embed')")
        await pool.execute(
            "INSERT INTO embeddings (model, content_hash, dimensions, embedding) "
            "VALUES ('fake', 'a', 2, '[1,0]'), ('fake', 'b', 2, '[0,1]')"
        )
        await pool.execute(
            "INSERT INTO chunks (work_key, chunk_no, embedding_type, model, content_hash, text, tokens) "
            "VALUES ('embed:1', 0, 'content', 'fake', 'a', 'a', 1), ('embed:1', 1, 'content', 'fake', 'b', 'b', 1)"
        )
        await pool.execute("DROP TABLE work_vectors")
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(migration.UPGRADE)
        assert await composite(pool, WorkKey("embed:1")) == pytest.approx([math.sqrt(0.5)] * 2, abs=1e-3)


async def test_a_repeat_replaces_what_an_earlier_attempt_left(
    pool: asyncpg.Pool[asyncpg.Record], work: WorkKey
) -> None:
    store = PgVectorStore(Database(pool))
    await keep(store, work, "one", "two", "three")
    for _ in range(2):
        await keep(store, work, "other")
        assert [row[1] for row in await kept(pool, work)] == ["other"]


async def test_two_workers_at_once_leave_one_whole_set(pool: asyncpg.Pool[asyncpg.Record], work: WorkKey) -> None:
    sets = (("a1", "a2", "a3"), ("b1", "b2"))
    done = await asyncio.gather(
        *(keep(PgVectorStore(Database(pool)), work, *one) for one in sets * 5), return_exceptions=True
    )
    assert all(error is None for error in done)
    assert [row[1] for row in await kept(pool, work)] in (["a1", "a2", "a3"], ["b1", "b2"])


async def test_a_failed_write_leaves_the_vectors_that_were_there(
    pool: asyncpg.Pool[asyncpg.Record], work: WorkKey
) -> None:
    await keep(PgVectorStore(Database(pool)), work, "one")
    with pytest.raises(asyncpg.PostgresError):
        await keep(PgVectorStore(Database(pool)), work, "two", "with a NUL \0")
    assert [row[1] for row in await kept(pool, work)] == ["one"]


async def test_a_database_that_goes_away_in_the_middle_is_waited_for(
    stack: Addresses, pool: asyncpg.Pool[asyncpg.Record], work: WorkKey
) -> None:
    store = PgVectorStore(Database(pool))
    blocker = await asyncpg.connect(stack.postgres)
    try:
        holding = blocker.transaction()
        await holding.start()
        await blocker.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", work)
        writing = asyncio.create_task(keep(store, work, "one"))
        # Not by the blocker, which sees the activity as it was when it first looked in its transaction.
        await _until_blocked(pool)
        await _end_blocked(pool)
        await holding.rollback()
        await writing
    finally:
        await blocker.close()
    assert [row[1] for row in await kept(pool, work)] == ["one"]


_BLOCKED = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%pg_advisory_xact_lock%'"


async def _until_blocked(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    await eventually(lambda: pool.fetchval(f"SELECT count(*) {_BLOCKED}"), "a statement to be blocked", 10)


async def _end_blocked(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    await pool.execute(f"SELECT pg_terminate_backend(pid) {_BLOCKED}")


async def test_a_models_vectors_are_indexed_beside_other_work(empty_database: str) -> None:
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database) as pool:
        await pool.execute("INSERT INTO work (work_key, stage) VALUES ('embed:1', 'embed')")
        name = index_name("fake", 2)
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
        async with keeping_indexes(empty_database, every_s=0.2):
            await keep(PgVectorStore(Database(pool)), WorkKey("embed:1"), "one", "two")
            await eventually(lambda: pool.fetchval(valid, name), "the index")
            async with pool.acquire() as connection:
                await drop_indexes(connection, "fake")
            assert await pool.fetchval(valid, name) is None
            await keep(PgVectorStore(Database(pool)), WorkKey("embed:1"), "three")
            await eventually(lambda: pool.fetchval(valid, name), "the index of a model that came back")


async def test_an_index_that_was_cut_off_is_made_anew(empty_database: str) -> None:
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database) as pool, pool.acquire() as connection:
        name = index_name("fake", 2)
        # What a CREATE INDEX CONCURRENTLY leaves that waits for somebody, and is ended.
        await connection.execute("INSERT INTO work (work_key, stage) VALUES ('embed:1', 'embed')")
        await keep(PgVectorStore(Database(pool)), WorkKey("embed:1"), "one", "two")
        other = await asyncpg.connect(empty_database)
        try:
            await other.execute("BEGIN")
            await other.execute("UPDATE embeddings SET dimensions = 2")
            making = asyncio.create_task(ensure_index(connection, "fake", 2))
            await eventually(
                lambda: pool.fetchval("SELECT to_regclass($1) IS NOT NULL", name), "the index to be begun"
            )
            making.cancel()
            await asyncio.wait([making])
        finally:
            await other.close()
        state = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
        assert await pool.fetchval(state, name) is False
        async with keeping_indexes(empty_database, every_s=0.2):
            await eventually(lambda: pool.fetchval(state, name), "a whole index")
