"""What was extracted is kept for an hour, in the real database."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from millrace.ids import content_hash
from millrace.store import extractions
from millrace.store.database import Database
from millrace.store.extractions import ExtractionStore
from millrace.store.pool import open_pool


async def age(database: Database, url: str, by: timedelta) -> None:
    await database.execute(
        "UPDATE extractions SET extracted_at = extracted_at - $2::interval WHERE url_hash = $1", content_hash(url), by
    )


async def rows(database: Database, *urls: str) -> int:
    hashes = [content_hash(url) for url in urls]
    found = await database.fetchrow("SELECT count(*) AS n FROM extractions WHERE url_hash = ANY($1)", hashes)
    return int(found["n"]) if found is not None else -1


async def test_it_is_found_for_an_hour_and_then_swept(database: Database, unique: str) -> None:
    store, url, other = (
        ExtractionStore(database),
        f"https://{unique}.example/v?t=secret",
        f"https://{unique}.example/w",
    )
    assert await store.find(url) is None
    await store.keep(url, {"url": "https://cdn.example/1", "title": "with \0 in it"})
    await store.keep(url, {"url": "https://cdn.example/2"})
    assert await store.find(url) == {"url": "https://cdn.example/2"}
    await age(database, url, timedelta(minutes=59))
    assert await store.find(url) is not None
    await age(database, url, timedelta(minutes=1))
    await store.keep(other, {"url": "https://cdn.example/3"})
    assert await store.find(url) is None
    assert await rows(database, url, other) == 1, "what is too old goes when anything is looked up"
    await store.keep(url, {"url": "https://cdn.example/4"})
    assert await store.find(url) == {"url": "https://cdn.example/4"}


async def test_it_can_be_forgotten(database: Database, unique: str) -> None:
    store, url = ExtractionStore(database), f"https://{unique}.example/"
    await store.keep(url, {"url": "https://cdn.example/1"})
    await store.forget(url)
    assert await rows(database, url) == 0


async def test_what_the_database_does_not_take_fails_nothing(
    database: Database, unique: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, url = ExtractionStore(database), f"https://{unique}.example/"
    await store.keep(url, {"duration": float("nan")})
    assert await store.find(url) is None
    assert "not kept" in caplog.text


async def test_a_database_that_is_away_does_not_hold_a_fetch_up(
    migrated: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractions, "_PATIENCE_S", 0.2)
    async with open_pool(migrated) as pool:
        await pool.close()  # every statement fails now, and is tried again without end
        async with asyncio.timeout(5):
            await ExtractionStore(Database(pool)).keep(f"https://{unique}.example/", {"url": "x"})


async def test_what_is_too_large_is_not_kept(database: Database, unique: str) -> None:
    store, url = ExtractionStore(database), f"https://{unique}.example/"
    await store.keep(url, {"fragments": ["x" * 1000] * 300})
    assert await store.find(url) is None
