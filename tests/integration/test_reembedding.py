"""Shares are found before, during and after a change of the model, and no model embeds a text twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path

import asyncpg
import pytest

from millrace.errors import ConfigurationError
from millrace.kafka.records import Message
from millrace.store import search_models
from millrace.store.database import Database
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.store.search_models import SearchModels
from millrace.store.vectors import ensure_index, index_name
from millrace.testing.registry import codec_in_memory
from services.api_gateway.filters import EVERYTHING
from services.api_gateway.passages import SEARCH_SETTINGS, Passages
from tests.integration.embedding import OWNER, Embedding
from tests.support.waiting import eventually

OLD, NEW = "old-16", "new-24"
TOPIC = "wheel"


@pytest.fixture
async def embedding(empty_database: str, tmp_path: Path) -> AsyncIterator[Embedding]:
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database, settings=SEARCH_SETTINGS) as pool:
        yield Embedding(pool, await codec_in_memory(), tmp_path, OLD)


def text_of(number: int) -> str:
    return f"The {TOPIC} number{number} turns in the mill race all day long."


def key(message: Message) -> str:
    return message.key.decode()


async def found(embedding: Embedding, mode: str) -> set[str]:
    answer = await embedding.ask(TOPIC, "semantic" if mode == "semantic" else "keyword")
    assert answer.note is None, answer.note
    assert len({(hit.share_id, hit.text) for hit in answer.hits}) == len(answer.hits)
    return {hit.share_id for hit in answer.hits}


class Watch:
    """Searches again and again; whatever was there when a search began has to be in its answer."""

    def __init__(self, embedding: Embedding) -> None:
        self.there: set[str] = set()
        self.searches = 0
        self._embedding = embedding

    async def run(self) -> None:
        while True:
            for mode in ("semantic", "keyword"):
                before = set(self.there)
                missing = before - await found(self._embedding, mode)
                assert not missing, (mode, missing)
                self.searches += 1

    async def rounds(self, count: int = 3) -> None:
        """Let it search so many times more."""
        until = self.searches + 2 * count
        await eventually(lambda: self._reached(until), "more searches")

    async def _reached(self, searches: int) -> bool:
        return self.searches >= searches


@asynccontextmanager
async def watching(embedding: Embedding) -> AsyncIterator[Watch]:
    watch = Watch(embedding)
    task = asyncio.create_task(watch.run())
    body = asyncio.current_task()
    assert body is not None
    task.add_done_callback(lambda ended: None if ended.cancelled() else body.cancel())
    try:
        yield watch
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task  # its assertion is the test's


async def aged(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """A minute later: no search of before is under way, and the agent has left its old model."""
    await pool.execute("UPDATE search_model SET since = since - interval '2 minutes'")
    await pool.execute("UPDATE share_embeddings SET searched_until = searched_until - interval '2 minutes'")
    await pool.execute("UPDATE jobs SET updated_at = updated_at - interval '1 hour'")


async def test_nothing_is_lost_while_another_model_takes_over(embedding: Embedding) -> None:
    models, pool = embedding.search_models, embedding.pool
    async with watching(embedding) as watch:
        messages: list[Message] = []

        async def add(number: int) -> None:
            messages.append(await embedding.share(text_of(number)))
            watch.there.add(key(messages[-1]))

        for number in range(4):
            await add(number)
        await watch.rounds()
        assert await models.hold() == OLD

        embedding.settle_on(NEW)  # from here on new shares are the new model's, which search does not prefer yet
        await add(4)
        await watch.rounds()
        with pytest.raises(ConfigurationError, match=r"embedded 1 of 5 shares"):
            await models.switch(NEW, force=False)
        for message in messages[:4]:
            await embedding.replay(message, model=NEW)
            await watch.rounds(1)
        assert (await models.standing()).models[0].model == OLD, "it still has most"
        assert embedding.queries[NEW].embedded, "the fifth share is asked for by its own model"

        await models.switch(NEW, force=False)
        await watch.rounds()
        with pytest.raises(ConfigurationError, match="moment ago"):
            await models.drop(OLD)
        await aged(pool)
        async with pool.acquire() as connection:
            assert await ensure_index(connection, OLD, 16)
        assert await models.drop(OLD) == 4
        await watch.rounds()
    assert await pool.fetchval("SELECT count(*) FROM embeddings WHERE model = $1", OLD) == 0
    assert await pool.fetchval("SELECT count(*) FROM chunks WHERE model = $1", OLD) == 0
    assert await pool.fetchval("SELECT to_regclass($1)", index_name(OLD, 16)) is None
    assert set(embedding.made[OLD].embedded.values()) == {1}
    assert set(embedding.made[NEW].embedded.values()) == {1}
    assert len(embedding.made[NEW].embedded) == 5


async def test_a_query_is_embedded_by_one_model_again_once_all_are_searched_by_it(embedding: Embedding) -> None:
    message = await embedding.share(text_of(1))
    await embedding.replay(message, model=NEW)
    await aged(embedding.pool)
    await found(embedding, "semantic")
    assert set(embedding.queries) <= {OLD, NEW}
    assert not embedding.queries[OLD].embedded, "nobody has chosen, so the newest is searched"
    assert embedding.queries[NEW].embedded
    await embedding.search_models.switch(OLD, force=False)
    await aged(embedding.pool)
    assert await found(embedding, "semantic") == {key(message)}
    assert embedding.queries[OLD].embedded, "and back again, at no cost"


async def test_a_switch_in_the_middle_of_a_search_takes_nothing_from_it(embedding: Embedding) -> None:
    message = await embedding.share(text_of(1))
    await embedding.search_models.hold()
    await embedding.replay(message, model=NEW)
    model = embedding.queries[OLD]
    embed = model.embed

    async def meanwhile(texts: list[str]) -> object:
        await embedding.search_models.switch(NEW, force=False)
        return await embed(texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "embed", meanwhile)
        assert await found(embedding, "semantic") == {key(message)}
    assert await found(embedding, "semantic") == {key(message)}


async def test_a_share_that_moves_in_the_middle_of_a_search_is_found_by_both_for_a_minute(
    embedding: Embedding,
) -> None:
    message = await embedding.share(text_of(1))
    await embedding.replay(message, model=NEW)
    passages = Passages(embedding.pool)
    vector = (await embedding.queries[OLD].embed([TOPIC])).vectors[0]

    async def by_the_old() -> list[str]:
        rows = await passages.by_meaning(OWNER, OLD, vector, 10, EVERYTHING, is_one_of_several=True)
        return [row.share_id for row in rows]

    assert await by_the_old() == [key(message)], "who asked the new model before it had the share finds it here"
    await aged(embedding.pool)
    assert await by_the_old() == []
    assert len(await passages.by_meaning(OWNER, OLD, vector, 10, EVERYTHING)) == 1, "as nobody else is asked"


async def test_words_are_searched_in_one_works_chunks_alone(embedding: Embedding) -> None:
    message = await embedding.share(" ".join(text_of(number) for number in range(60)))
    before = await embedding.ask(TOPIC, "keyword")
    await embedding.replay(message, model=NEW, chunker="fixed")
    after = await embedding.ask(TOPIC, "keyword")
    assert len(before.hits) > 1
    assert len(after.hits) == await embedding.pool.fetchval("SELECT count(*) FROM chunks WHERE model = $1", NEW)


async def test_a_share_that_is_embedded_anew_stays_found_and_what_is_empty_goes(embedding: Embedding) -> None:
    message = await embedding.share(text_of(1))
    await embedding.pool.execute("UPDATE jobs SET state = 'running' WHERE stage = 'embed'")
    assert await found(embedding, "semantic") == {key(message)}
    assert await found(embedding, "keyword") == {key(message)}
    await embedding.pool.execute("UPDATE jobs SET state = 'skipped' WHERE stage = 'embed'")
    assert await found(embedding, "keyword") == set()


async def test_other_work_of_the_same_model_makes_old_what_others_have(embedding: Embedding) -> None:
    message = await embedding.share(text_of(1))
    await embedding.search_models.hold()
    await embedding.replay(message, model=NEW)
    await embedding.replay(message, model=NEW, chunker="fixed")
    rows = await embedding.pool.fetch("SELECT model, searched_until = 'infinity' AS searched FROM share_embeddings")
    assert [tuple(row) for row in rows] == [(NEW, True)]


async def test_models_that_the_gateway_lacks_leave_their_shares_to_words(embedding: Embedding) -> None:
    here = await embedding.share(text_of(1))
    embedding.settle_on("away-8")
    away = await embedding.share(text_of(2))
    answer = await embedding.ask(TOPIC, "hybrid")
    assert {hit.share_id: hit.matched_by for hit in answer.hits} == {
        key(here): ["semantic", "keyword"],
        key(away): ["keyword"],
    }
    assert "Shares that only away-8 has embedded are searched by words." in (answer.note or "")
    first_shares = await embedding.ask(TOPIC, "hybrid", two_phase=True)
    assert {hit.share_id for hit in first_shares.hits} == {key(here), key(away)}, "the nearest are not known of all"


async def test_the_status_counts_shares_and_estimates_the_rest(embedding: Embedding) -> None:
    first = await embedding.share(text_of(1))
    await embedding.share(text_of(2) * 3)
    await embedding.replay(first, model=NEW)
    standing = await embedding.search_models.standing()
    assert (standing.chosen, standing.shares) == (None, 2)
    old, new = standing.of(OLD), standing.of(NEW)
    assert old is not None
    assert new is not None
    assert (old.shares, old.searched, old.rest) == (2, 1, 0)
    assert (new.shares, new.searched) == (1, 1)
    assert new.cost > 0
    assert new.rest == -(-new.cost * new.missing_tokens // new.tokens)
    assert new.missing_tokens == old.tokens - new.tokens


async def test_a_model_that_is_needed_stays(embedding: Embedding) -> None:
    message = await embedding.share(text_of(1))
    await aged(embedding.pool)
    with pytest.raises(ConfigurationError, match="1 shares are searched by old-16"):
        await embedding.search_models.drop(OLD)
    await embedding.replay(message, model=NEW)
    await embedding.replay(message, model=OLD)
    await embedding.search_models.switch(NEW, force=False)
    await aged(embedding.pool)
    await embedding.pool.execute("UPDATE jobs SET updated_at = now()")
    with pytest.raises(ConfigurationError, match="embed agent works with old-16"):
        await embedding.search_models.drop(OLD)
    with pytest.raises(ConfigurationError, match="has embedded nothing"):
        await embedding.search_models.switch("nobody", force=True)


async def test_work_of_a_model_that_was_dropped_is_done_again_when_it_is_wanted(embedding: Embedding) -> None:
    message = await embedding.share(text_of(1))
    await embedding.replay(message, model=NEW)
    await aged(embedding.pool)
    assert await embedding.search_models.drop(OLD) == 1
    await embedding.replay(message, model=OLD)
    assert await embedding.pool.fetchval("SELECT count(*) FROM chunks WHERE model = $1", OLD) == 1
    assert await found(embedding, "semantic") == {key(message)}
    assert set(embedding.made[OLD].embedded.values()) == {1}, "its answer was kept, so nothing is paid again"


async def test_nothing_of_a_dropped_model_is_left_and_shares_show_what_is_searched(embedding: Embedding) -> None:
    message = await embedding.share(text_of(1))
    await embedding.replay(message, model=NEW)
    await embedding.replay(message, model=OLD)
    await embedding.search_models.switch(NEW, force=False)
    await aged(embedding.pool)
    await embedding.search_models.drop(OLD)
    for table in ("chunks", "embeddings", "work_vectors", "share_embeddings"):
        rows = await embedding.pool.fetch(f"SELECT FROM {table} WHERE model = $1", OLD)
        assert rows == [], table
    assert await embedding.pool.fetchval("SELECT model FROM jobs WHERE stage = 'embed'") == NEW


async def test_what_is_being_embedded_stays_when_its_model_is_dropped(
    embedding: Embedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await embedding.share(text_of(1))
    await embedding.replay(message, model=NEW)
    await aged(embedding.pool)
    # A worker has just finished a work, and its job has not ended yet.
    await embedding.pool.execute(
        "INSERT INTO work (work_key, stage, result, finished_at, lease_until) "
        "VALUES ('embed:busy', 'embed', '{}', now(), now())"
    )
    # As if its chunks had been written since the others were undone.
    later = search_models._UNDO.replace("work_key IN (", "work_key <> 'embed:busy' AND work_key IN (")
    monkeypatch.setattr(search_models, "_UNDO", later)
    await embedding.pool.execute(
        "INSERT INTO chunks (work_key, chunk_no, embedding_type, model, content_hash, text, tokens) "
        "SELECT 'embed:busy', 0, 'content', model, content_hash, text, tokens FROM chunks WHERE model = $1 LIMIT 1",
        OLD,
    )
    await embedding.search_models.drop(OLD)
    rows = await embedding.pool.fetch("SELECT work_key FROM chunks WHERE model = $1", OLD)
    assert [row["work_key"] for row in rows] == ["embed:busy"]


async def test_shares_of_before_are_taken_over(empty_database: str) -> None:
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database) as pool:
        for table in ("share_embeddings", "search_model"):
            await pool.execute(f"DROP TABLE {table}")
        await pool.execute("DROP TRIGGER jobs_share_embedding ON jobs; DROP FUNCTION keep_share_embedding")
        await pool.execute("DROP FUNCTION note_embeddings_for_search, note_insight_for_search CASCADE")
        await pool.execute("INSERT INTO work (work_key, stage) VALUES ('embed:1', 'embed')")
        await pool.execute(
            "INSERT INTO shares (share_id, account, owner, source_kind, platform, content_type, created_at) "
            "VALUES ('1', 'default', $1, 'text', 'web', 'article', now())",
            OWNER,
        )
        await pool.execute(
            "INSERT INTO jobs (share_id, stage, account, state, work_key, model) "
            "VALUES ('1', 'embed', 'default', 'done', 'embed:1', $1)",
            OLD,
        )
        await pool.execute(import_module("millrace.store.migrations.versions.0019_share_embeddings").UPGRADE)
        standing = await SearchModels(Database(pool)).standing()
        assert [(one.model, one.searched) for one in standing.models] == [(OLD, 1)]
