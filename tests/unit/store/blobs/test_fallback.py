"""What a store says of content that its folder and the bucket do not have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.clock import ManualClock
from millrace.errors import Poison, Retryable, Unavailable
from millrace.store.blobs import BlobMissing, BlobStore, content_key, media_key
from millrace.store.blobs.heal import heal
from tests.support.bucket import FolderBucket, node

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SHA = "ab" * 32
MEDIA = media_key(SHA, ".mp4", NOW)
UPLOAD = content_key("uploads", SHA, ".mp4")


@pytest.fixture
def bucket(tmp_path: Path) -> FolderBucket:
    return FolderBucket(tmp_path / "bucket")


async def taken(store: BlobStore, key: str) -> bytes:
    async with store.local_copy(key) as path:
        return path.read_bytes()


@pytest.mark.parametrize(("key", "waits"), [(MEDIA, Unavailable), (UPLOAD, Retryable)])
async def test_what_fell_back_on_another_machine_is_waited_for_and_found_once_it_is_healed(
    key: str, waits: type[Exception], bucket: FolderBucket, tmp_path: Path
) -> None:
    clock = ManualClock(NOW + timedelta(minutes=59))
    here, there = (node(tmp_path / name, bucket, clock=clock) for name in ("here", "there"))
    bucket.fails = lambda _: Unavailable("a blip")
    await here.put_bytes(key, b"x")
    bucket.fails = lambda _: None
    for ask in (there.read, lambda key: taken(there, key)):
        with pytest.raises(waits, match="another machine"):
            await ask(key)
    here.breaker.succeeded()
    assert (await heal(here, NOW)).moved == 1
    assert await there.read(key) == await taken(there, key) == b"x"


async def test_media_that_is_still_not_there_after_an_hour_has_expired(bucket: FolderBucket, tmp_path: Path) -> None:
    clock = ManualClock(NOW + timedelta(minutes=61))
    store = node(tmp_path / "here", bucket, clock=clock)
    for ask in (store.read, lambda key: taken(store, key)):
        with pytest.raises(BlobMissing):
            await ask(MEDIA)
        with pytest.raises(BlobMissing):
            await ask("temp/videos/2026/11/27/of-no-known-time.mp4")


async def test_a_key_whose_time_is_far_ahead_is_not_waited_for(bucket: FolderBucket, tmp_path: Path) -> None:
    store = node(tmp_path / "here", bucket, clock=ManualClock(NOW))
    with pytest.raises(BlobMissing):
        await store.read(media_key(SHA, ".mp4", NOW + timedelta(days=1)))


async def test_what_belongs_to_the_folder_is_not_waited_for(bucket: FolderBucket, tmp_path: Path) -> None:
    store = node(tmp_path / "here", bucket, percent=0, clock=ManualClock(NOW))
    await store.put_bytes("uploads/other", b"x")
    for key in (MEDIA, UPLOAD):
        with pytest.raises(Poison):
            await store.read(key)
