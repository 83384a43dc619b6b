"""What every media store does, whatever is behind it."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from millrace.settings import StorageSettings
from millrace.store.blobs import About, BadKey, BeyondEnd, BlobMissing, BlobStore, ByteRange, put_once
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.opening import open_blobs

KEYS = [f"temp/videos/2026/11/27/clip-{n}.mp4" for n in range(8)]
"""Some of which a hybrid store keeps here, and some in S3."""
LARGE = os.urandom(17 << 20)
"""More than two parts."""
CONTENT = os.urandom(2_500_000)


class TestEveryStore:
    async def test_bytes_are_read_back(self, store: BlobStore) -> None:
        for key in [*KEYS, "uploads/ab/abc.wav", "transcripts/de/def.json"]:
            content = os.urandom(1000)
            assert not await store.exists(key)
            await store.put_bytes(key, content)
            assert await store.exists(key)
            assert await store.read(key) == content

    async def test_an_empty_object_is_one(self, store: BlobStore) -> None:
        for key in KEYS[:4]:
            await store.put_bytes(key, b"")
            assert await store.exists(key)
            assert await store.read(key) == b""
            async with store.local_copy(key) as path:
                assert path.stat().st_size == 0

    async def test_a_large_file_is_lent_as_it_was_put_and_the_original_stays(
        self, store: BlobStore, tmp_path: Path
    ) -> None:
        original = tmp_path / "original"
        original.write_bytes(LARGE)
        for key in KEYS[:3]:
            told: list[tuple[int, int]] = []
            about = About({"title": "A clip"}, "video/mp4")

            async def tell(done: int, of: int, told: list[tuple[int, int]] = told) -> None:
                told.append((done, of))

            await store.put_file(key, original, about, tell)
            assert told[-1] == (len(LARGE), len(LARGE))
            async with store.local_copy(key) as path:
                assert path.read_bytes() == LARGE
                assert path.suffix == ".mp4"
            assert await asyncio.to_thread(path.exists) in (False, path.is_relative_to(tmp_path / "blobs" / "temp"))
        assert original.read_bytes() == LARGE

    async def test_a_part_is_read_without_the_rest(self, store: BlobStore) -> None:
        for key in KEYS:
            await store.put_bytes(key, CONTENT)
            for wanted, start, stop in (
                (ByteRange(0, 0), 0, 1),
                (ByteRange(1_000_000, 1_999_999), 1_000_000, 2_000_000),
                (ByteRange(len(CONTENT) - 5, None), len(CONTENT) - 5, len(CONTENT)),
                (ByteRange(None, 700_000), len(CONTENT) - 700_000, len(CONTENT)),
                (ByteRange(len(CONTENT) - 2, len(CONTENT) + 10), len(CONTENT) - 2, len(CONTENT)),
            ):
                async with store.part(key, wanted) as part:
                    assert (part.start, part.stop, part.size) == (start, stop, len(CONTENT))
                    assert b"".join([chunk async for chunk in part.chunks]) == CONTENT[start:stop]

    async def test_a_part_behind_the_end_or_of_what_is_missing_says_so(self, store: BlobStore) -> None:
        for key in KEYS:
            await store.put_bytes(f"{key}.other", b"x")
        for key in KEYS:
            with pytest.raises(BlobMissing):
                async with store.part(key, ByteRange(0, 1)):
                    pass
            await store.put_bytes(key, b"short")
            with pytest.raises(BeyondEnd) as found:
                async with store.part(key, ByteRange(5, 9)):
                    pass
            assert found.value.size == 5

    async def test_a_part_may_be_left_before_its_end(self, store: BlobStore) -> None:
        for key in KEYS:
            await store.put_bytes(key, CONTENT)
            async with store.part(key, ByteRange(0, None)) as part:
                first = await anext(part.chunks)
                assert CONTENT.startswith(first)
            assert await store.exists(key)

    async def test_what_is_missing_says_so(self, store: BlobStore) -> None:
        for key in KEYS:
            await store.put_bytes(f"{key}.other", b"x")
        for key in KEYS:
            with pytest.raises(BlobMissing, match="share it again"):
                await store.read(key)
            with pytest.raises(BlobMissing):
                async with store.local_copy(key):
                    pass

    async def test_what_is_deleted_is_missing_and_may_be_deleted_again(self, store: BlobStore) -> None:
        for key in KEYS:
            await store.put_bytes(key, b"x")
            await store.delete(key)
            assert not await store.exists(key)
            await store.delete(key)

    async def test_a_lent_file_stays_when_its_key_is_deleted(self, store: BlobStore) -> None:
        for key in KEYS[:4]:
            await store.put_bytes(key, b"read me")
            async with store.local_copy(key) as path:
                await store.delete(key)
                assert path.read_bytes() == b"read me"

    async def test_keys_that_lead_elsewhere_are_refused(self, store: BlobStore) -> None:
        for ask in (store.read, store.exists, store.delete, store.url):
            with pytest.raises(BadKey):
                await ask("../outside")
        with pytest.raises(BadKey):
            await store.put_bytes("../outside", b"x")

    async def test_a_file_is_put_once(self, store: BlobStore, tmp_path: Path) -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        first.write_bytes(b"first")
        second.write_bytes(b"second")
        for key in KEYS[:4]:
            await put_once(store, key, first)
            await put_once(store, key, second)
            assert await store.read(key) == b"first"

    async def test_a_signed_url_is_there_for_what_is_in_s3_and_a_file_has_none(self, store: BlobStore) -> None:
        for key in KEYS:
            await store.put_bytes(key, b"x")
            in_s3 = isinstance(store, FallbackBlobStore) and store.goes_to_s3(key)
            signed, url = await store.presigned(key, timedelta(minutes=1)), await store.url(key)
            assert (signed is not None) == in_s3
            assert url.startswith("s3://" if in_s3 else "file://")

    async def test_ten_writers_of_one_key_leave_one_of_their_contents(self, store: BlobStore) -> None:
        contents = [bytes([n]) * 100_000 for n in range(10)]
        await asyncio.gather(*(store.put_bytes(KEYS[0], content) for content in contents))
        assert await store.read(KEYS[0]) in contents


async def test_what_is_in_the_bucket_can_be_read_after_a_change_to_the_mode_local(
    settings: StorageSettings, tmp_path: Path
) -> None:
    key = "uploads/ab/abc.wav"
    async with open_blobs(settings, tmp_path / "blobs") as store:
        await store.put_bytes(key, b"x")
    async with open_blobs(settings.model_copy(update={"storage_mode": "local"}), tmp_path / "blobs") as store:
        assert isinstance(store, FallbackBlobStore)
        assert await store.read(key) == b"x"
        async with store.local_copy(key) as path:
            assert path.read_bytes() == b"x"
        await store.put_bytes(f"{key}.other", b"y")
        assert not await store.s3.exists(f"{key}.other")
        with pytest.raises(BlobMissing):
            await store.read(f"{key}.third")


async def test_a_hybrid_store_keeps_a_share_of_fetched_media_in_s3_and_the_rest_here(
    settings: StorageSettings, tmp_path: Path
) -> None:
    hybrid = settings.model_copy(update={"storage_mode": "hybrid", "hybrid_s3_percent": 25})
    async with open_blobs(hybrid, tmp_path / "blobs") as store:
        assert isinstance(store, FallbackBlobStore)
        keys = [f"temp/videos/2026/11/27/{n}.mp4" for n in range(40)]
        for key in (*keys, "uploads/ab/abc"):
            await store.put_bytes(key, b"x")
        in_s3 = [key for key in keys if await store.s3.exists(key)]
        here = [key for key in keys if await store.local.exists(key)]
        assert sorted(in_s3 + here) == sorted(keys), "each in one place"
        assert in_s3 == [key for key in keys if store.goes_to_s3(key)]
        assert 3 <= len(in_s3) <= 18
        assert await store.local.exists("uploads/ab/abc")
        assert await asyncio.to_thread(store.markers.all) == []
