"""One bad file does not hold the others up, and what came in the meantime is not lost."""

from __future__ import annotations

import asyncio
import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.errors import Unavailable
from millrace.store.blobs import NOTHING, About, LocalBlobStore, Progress
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.heal import heal
from millrace.store.blobs.markers import note_name
from millrace.store.blobs.port import LocalFailure, Refused
from tests.support.bucket import FolderBucket, node

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
KEYS = [f"temp/videos/2026/11/27/{n}.mp4" for n in range(12)]


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


@pytest.fixture
def store(bucket: FolderBucket, tmp_path: Path) -> FallbackBlobStore:
    return node(tmp_path / "here", bucket)


async def fallen_back(store: FallbackBlobStore, keys: list[str]) -> None:
    for n, key in enumerate(keys):
        await asyncio.to_thread(store.markers.mark, key, About())
        await store.local.put_bytes(key, b"x")
        at = (NOW - timedelta(hours=5) + timedelta(minutes=n)).timestamp()
        os.utime(store.local.root / ".healing" / note_name(key), (at, at))


class _SickBucket(FolderBucket):
    """The first file cannot be read on."""

    async def put_file(self, key: str, path: Path, about: About = NOTHING, progress: Progress | None = None) -> None:
        if key == KEYS[0]:
            raise LocalFailure("the disk has a hole there")
        await super().put_file(key, path, about, progress)


async def test_a_file_that_cannot_be_read_holds_up_neither_the_others_nor_uploads(tmp_path: Path) -> None:
    bucket = _SickBucket(tmp_path / "bucket")
    store = node(tmp_path / "here", bucket)
    await fallen_back(store, KEYS[:3])
    done = await heal(store, NOW)
    assert (done.moved, done.left, done.reason) == (2, 1, "the disk has a hole there")
    await store.put_bytes("uploads/next", b"x")
    assert await bucket.exists("uploads/next"), "S3 is asked as ever"


async def test_a_file_that_cannot_be_looked_at_does_not_hold_the_others_up(
    store: FallbackBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fallen_back(store, KEYS[:2])
    look = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path == store.local.path(KEYS[0]):
            raise OSError(errno.EIO, "Input/output error")
        return look(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    done = await heal(store, NOW)
    assert (done.moved, done.left) == (1, 1)
    assert store.breaker.lets_through()


class _StuckFolder(LocalBlobStore):
    async def delete(self, key: str) -> None:
        if key == KEYS[0]:
            raise Unavailable("it cannot be removed")
        await super().delete(key)


async def test_a_file_that_cannot_be_removed_does_not_hold_the_others_up(
    bucket: FolderBucket, store: FallbackBlobStore
) -> None:
    await fallen_back(store, KEYS[:2])
    stuck = FallbackBlobStore(_StuckFolder(store.local.root), store.s3)
    done = await heal(stuck, NOW)
    assert (done.moved, done.left) == (1, 1)
    assert [marked.key for marked in store.markers.all()] == [KEYS[0]]
    assert await bucket.exists(KEYS[0])


async def test_files_that_s3_never_takes_are_tried_after_all_others_the_next_time(
    bucket: FolderBucket, store: FallbackBlobStore
) -> None:
    await fallen_back(store, KEYS)
    bucket.fails = lambda key: Refused("never") if key in KEYS[:6] else None
    assert (await heal(store, NOW)).moved == 0, "so many are no matter of files"
    assert (await heal(store, NOW)).moved == 6


async def test_a_file_that_s3_fails_at_is_tried_after_all_others_the_next_time(
    bucket: FolderBucket, store: FallbackBlobStore
) -> None:
    await fallen_back(store, KEYS[:3])
    bucket.fails = lambda key: Unavailable("500 for this one") if key == KEYS[0] else None
    assert (await heal(store, NOW)).moved == 0
    store.breaker.succeeded()
    assert (await heal(store, NOW)).moved == 2


async def test_a_note_that_was_renewed_meanwhile_stays(store: FallbackBlobStore) -> None:
    await fallen_back(store, KEYS[:1])
    (listed,) = store.markers.all()
    await asyncio.to_thread(store.markers.mark, KEYS[0], About())
    await asyncio.to_thread(store.markers.forget, listed)
    (renewed,) = store.markers.all()
    await asyncio.to_thread(store.markers.forget, renewed)
    assert store.markers.all() == []
    await asyncio.to_thread(store.markers.forget, renewed)


class _RetryingBucket(FolderBucket):
    """A writer that was killed comes back, just as its note without a file is looked at."""

    again: FallbackBlobStore

    async def exists(self, key: str) -> bool:
        found = await super().exists(key)
        await asyncio.to_thread(self.again.markers.mark, key, About())
        return found


async def test_a_retry_that_came_while_its_old_note_was_given_up_is_healed(tmp_path: Path) -> None:
    bucket = _RetryingBucket(tmp_path / "bucket")
    store = bucket.again = node(tmp_path / "here", bucket)
    await fallen_back(store, KEYS[:1])
    await store.local.delete(KEYS[0])
    await heal(store, NOW)
    assert [marked.key for marked in store.markers.all()] == [KEYS[0]]


class _SlowBucket(FolderBucket):
    """Waits in the middle of an upload."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.began, self.go_on = asyncio.Event(), asyncio.Event()

    async def put_file(self, key: str, path: Path, about: About = NOTHING, progress: Progress | None = None) -> None:
        self.began.set()
        await self.go_on.wait()
        await super().put_file(key, path, about, progress)


async def test_what_is_deleted_while_it_is_healed_does_not_come_back(tmp_path: Path) -> None:
    bucket = _SlowBucket(tmp_path / "bucket")
    store = node(tmp_path / "here", bucket)
    await fallen_back(store, KEYS[:1])
    healing = asyncio.create_task(heal(store, NOW))
    await bucket.began.wait()
    deleting = asyncio.create_task(node(tmp_path / "here", bucket).delete(KEYS[0]))
    await asyncio.wait([deleting], timeout=0.2)
    bucket.go_on.set()
    await asyncio.gather(healing, deleting)
    assert not await store.exists(KEYS[0])
    assert store.markers.all() == []


async def test_a_folder_in_which_nothing_can_be_locked_is_waited_for(store: FallbackBlobStore) -> None:
    await fallen_back(store, KEYS[:1])
    (store.local.root / ".healing" / "moving.lock").mkdir()
    with pytest.raises(Unavailable, match="cannot be written"):
        await store.delete(KEYS[0])
    with pytest.raises(Unavailable, match="cannot be healed"):
        await heal(store, NOW)
    assert await store.read(KEYS[0]) == b"x"
