"""The same fetched content is kept once, for as long as it is kept at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.clock import ManualClock
from millrace.errors import Unavailable
from millrace.store.blobs import About, LocalBlobStore, media_key
from millrace.store.database import Database
from millrace.store.media import MediaShelf
from tests.support.dying import Died, DyingDatabase, dies_after

DAY = timedelta(days=1)
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


class CountingStore(LocalBlobStore):
    """Counts what is put; `away` cannot say what it holds."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.put: list[str] = []
        self.titles: list[Mapping[str, str]] = []
        self.away = False

    async def put_file(self, key: str, path: Path, about: About = About(), progress: object = None) -> None:  # noqa: B008 - frozen
        self.put.append(key)
        self.titles.append(about.metadata)
        await super().put_file(key, path, about)

    async def exists(self, key: str) -> bool:
        if self.away:
            raise Unavailable("S3 does not answer")
        return await super().exists(key)


class Bench:
    """A shelf over a folder, and content of the test's own."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.content = os.urandom(1000)
        self.sha256 = hashlib.sha256(self.content).hexdigest()
        self.file = folder / "media"
        self.file.write_bytes(self.content)
        self.clock = ManualClock(NOON)
        self.store = CountingStore(folder / "blobs")
        self.database = database
        self.shelf = MediaShelf(database, self.store, self.clock, DAY)

    async def place(self, shelf: MediaShelf | None = None) -> str:
        return await (shelf or self.shelf).place(self.file, self.sha256, ".mp4", {"title": "A"})

    async def rows(self) -> list[dict[str, object]]:
        found = await self.database.fetch("SELECT * FROM media_objects WHERE sha256 = $1", self.sha256)
        return [dict(row) for row in found]


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return Bench(database, tmp_path)


async def test_content_is_kept_under_the_day_its_hash_and_when(bench: Bench) -> None:
    key = await bench.place()
    assert key == f"temp/videos/2026/11/27/{bench.sha256}-{int(NOON.timestamp())}.mp4"
    assert await bench.store.read(key) == bench.content
    assert bench.store.titles == [{"title": "A"}]
    known = {"sha256": bench.sha256, "blob_key": key, "size_bytes": 1000, "stored_at": NOON}
    assert await bench.rows() == [known]


async def test_the_same_content_is_kept_once_while_it_is_young(bench: Bench) -> None:
    first = await bench.place()
    bench.clock.advance(DAY / 4 - timedelta(seconds=1))
    assert await bench.place() == first
    assert bench.store.put == [first]


async def test_content_that_expires_soon_is_kept_anew(bench: Bench) -> None:
    first = await bench.place()
    bench.clock.advance(DAY / 4)
    second = await bench.place()
    assert second == media_key(bench.sha256, ".mp4", NOON + DAY / 4) != first
    assert [row["blob_key"] for row in await bench.rows()] == [second]
    assert await bench.place() == second


async def test_content_that_is_gone_is_kept_anew(bench: Bench) -> None:
    first = await bench.place()
    await bench.store.delete(first)
    bench.clock.advance(timedelta(seconds=1))
    second = await bench.place()
    assert second != first
    assert await bench.store.read(second) == bench.content


async def test_content_of_which_nobody_knows_is_kept_anew(bench: Bench) -> None:
    await bench.place()
    bench.store.away = True
    bench.clock.advance(timedelta(seconds=1))
    await bench.place()
    assert len(bench.store.put) == 2


async def test_workers_that_keep_the_same_content_at_once_end_with_one_row_and_valid_keys(bench: Bench) -> None:
    clocks = [ManualClock(NOON + timedelta(seconds=second)) for second in range(6)]
    shelves = [MediaShelf(bench.database, bench.store, clock, DAY) for clock in clocks]
    keys = await asyncio.gather(*(bench.place(shelf) for shelf in shelves))
    for key in keys:
        assert await bench.store.read(key) == bench.content
    (row,) = await bench.rows()
    assert row["blob_key"] in bench.store.put
    assert row["blob_key"] == max(bench.store.put, key=lambda key: key.rpartition("-")[2]), (
        "the one that stays longest"
    )


@pytest.mark.parametrize("steps", range(4))
async def test_a_worker_that_dies_at_any_step_leaves_nothing_that_does_not_hold(bench: Bench, steps: int) -> None:
    dying = MediaShelf(DyingDatabase(bench.database, dies_after(steps)), bench.store, bench.clock, DAY)
    with pytest.raises(Died):
        await bench.place(dying)
    bench.clock.advance(timedelta(seconds=1))
    key = await bench.place()
    assert await bench.store.read(key) == bench.content
    (row,) = await bench.rows()
    assert row["blob_key"] == key
