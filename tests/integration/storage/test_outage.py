"""S3 goes away and comes back: nothing is lost, nothing waits for it, and every key can be read throughout."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.clock import SystemClock
from millrace.errors import Unavailable
from millrace.settings import StorageSettings
from millrace.store.blobs import About, opening
from millrace.store.blobs.counters import storage_counts
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.heal import heal
from millrace.store.blobs.local import LocalBlobStore
from millrace.store.blobs.s3 import S3BlobStore
from millrace.store.blobs.sweep import sweep_store
from tests.integration.storage.conftest import PART, environment
from tests.support.dying import Died, dies_after
from tests.support.process import begin
from tests.support.s3 import S3Server
from tests.support.waiting import eventually, until

KEYS = [f"temp/videos/2026/11/20/clip-{n}.mp4" for n in range(6)]
ABOUT = About({"title": "Clip \N{PARTY POPPER}"}, "video/mp4")
NOWHERE = "http://127.0.0.1:9"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def down(settings: StorageSettings) -> StorageSettings:
    """Settings of the same bucket at an address where nobody listens."""
    return settings.model_copy(update={"s3_endpoint": NOWHERE})


async def fallen_back(down: StorageSettings, folder: Path, contents: dict[str, bytes]) -> None:
    """Put what S3 cannot take."""
    async with opening.open_blobs(down, folder) as store:
        for key, content in contents.items():
            await store.put_bytes(key, content, ABOUT)


async def test_uploads_go_to_the_folder_within_seconds_and_are_healed_when_s3_is_back(
    server: S3Server, blobs: FallbackBlobStore, settings: StorageSettings, tmp_path: Path
) -> None:
    contents = {key: os.urandom(300_000) for key in KEYS}
    await blobs.put_bytes(KEYS[0], contents[KEYS[0]], ABOUT)
    before = storage_counts()
    server.kill()
    try:
        began = time.monotonic()
        first, *others = KEYS[1:]
        await blobs.put_bytes(first, contents[first], ABOUT)
        assert time.monotonic() - began < 15, "the first finds out"
        began = time.monotonic()
        for key in others:
            await blobs.put_bytes(key, contents[key], ABOUT)
        assert time.monotonic() - began < 3, "the others need not"
        for key in KEYS[1:]:
            assert await blobs.read(key) == contents[key]
        counted = storage_counts()
        assert counted["localStorage"] - before["localStorage"] == len(KEYS) - 1
        assert counted["s3UploadErrors"] - before["s3UploadErrors"] >= 1
        assert (await heal(blobs, now())).moved == 0
    finally:
        server.start()
    async with readable_throughout(blobs, {key: contents[key] for key in KEYS[1:]}):
        keeping = asyncio.create_task(opening.keep_order(blobs, settings, tmp_path / "blobs", SystemClock()))
        await eventually(lambda: not blobs.markers.all(), "all to be healed", 60)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
    for key in KEYS:
        kept = await blobs.s3.kept(key)
        assert kept is not None
        assert kept.about == ABOUT
        assert await blobs.s3.read(key) == contents[key]
        assert not await blobs.local.exists(key)


@asynccontextmanager
async def readable_throughout(store: FallbackBlobStore, contents: dict[str, bytes]) -> AsyncIterator[None]:
    """Reads all keys again and again in the meantime."""
    done = asyncio.Event()

    async def read() -> int:
        rounds = 0
        while not done.is_set() or rounds == 0:
            for key, content in contents.items():
                assert await store.exists(key)
                assert await store.read(key) == content
                async with store.local_copy(key) as path:
                    assert await asyncio.to_thread(path.read_bytes) == content
            rounds += 1
        return rounds

    reading = asyncio.create_task(read())
    yield
    done.set()
    assert await reading > 0


async def test_what_is_to_be_healed_is_not_swept(
    down: StorageSettings, settings: StorageSettings, tmp_path: Path
) -> None:
    await fallen_back(down, tmp_path, {KEYS[0]: b"wanted"})
    local = LocalBlobStore(tmp_path)
    await local.put_bytes(KEYS[1], b"expired")
    long_ago = time.time() - 48 * 3600
    for key in KEYS[:2]:
        os.utime(local.path(key), (long_ago, long_ago))
    async with opening.open_blobs(settings, tmp_path) as store:
        assert isinstance(store, FallbackBlobStore)
        held = store.markers.names()
        assert sweep_store(tmp_path, now(), keep=timedelta(hours=24), held=held) == 1
        assert await store.local.exists(KEYS[0])
        assert not await store.local.exists(KEYS[1])
        assert (await heal(store, now())).moved == 1
        assert await store.s3.read(KEYS[0]) == b"wanted"


class _DyingS3(S3BlobStore):
    """The process dies before or after a request."""

    step: Callable[[], None]

    async def kept(self, key: str) -> object:  # type: ignore[override]  # hands on what it gets
        self.step()
        found = await super().kept(key)
        self.step()
        return found

    async def put_file(self, *args: object, **more: object) -> None:
        self.step()
        await super().put_file(*args, **more)  # type: ignore[arg-type]  # as it was called
        self.step()


class _DyingFolder(LocalBlobStore):
    """The process dies before or after the file is removed."""

    step: Callable[[], None]

    async def delete(self, key: str) -> None:
        self.step()
        await super().delete(key)
        self.step()


@pytest.mark.parametrize("steps", range(8))
async def test_a_healer_that_dies_at_any_step_loses_nothing(
    steps: int, down: StorageSettings, s3: S3BlobStore, tmp_path: Path
) -> None:
    content = os.urandom(100_000)
    await fallen_back(down, tmp_path, {KEYS[0]: content})
    dying_s3, dying_folder = _DyingS3(s3.client, s3.bucket), _DyingFolder(tmp_path)
    dying_s3.step = dying_folder.step = dies_after(steps)
    with pytest.raises(Died):
        await heal(FallbackBlobStore(dying_folder, dying_s3), now())
    store = FallbackBlobStore(LocalBlobStore(tmp_path), s3)
    assert await store.read(KEYS[0]) == content
    sweep_store(tmp_path, now() + timedelta(days=30), keep=timedelta(hours=24), held=store.markers.names())
    assert await store.read(KEYS[0]) == content
    done = await heal(store, now())
    assert (done.moved, done.left) == (1, 0)
    assert await s3.read(KEYS[0]) == content
    assert not await store.local.exists(KEYS[0])
    assert store.markers.all() == []


async def test_a_healer_that_is_killed_in_mid_upload_leaves_no_object_and_loses_nothing(
    down: StorageSettings, settings: StorageSettings, s3: S3BlobStore, tmp_path: Path
) -> None:
    content, log = os.urandom(2 * PART), tmp_path / "log"
    await fallen_back(down, tmp_path / "blobs", {KEYS[0]: content})
    program = Path(__file__).with_name("dying_program.py")
    process = begin((sys.executable, str(program), "heal", str(tmp_path / "blobs")), log, environment(settings))
    until(lambda: "sent" in log.read_text() or process.poll() is not None, "the first part", 30)
    assert process.poll() is None, log.read_text()
    store = FallbackBlobStore(LocalBlobStore(tmp_path / "blobs"), s3)
    elsewhere = await heal(store, now())
    assert (elsewhere.moved, elsewhere.left, elsewhere.reason) == (0, 1, "another process is healing the folder")
    process.kill()
    process.wait()
    assert not await s3.exists(KEYS[0])
    assert await store.read(KEYS[0]) == content
    assert (await heal(store, now())).moved == 1
    assert await s3.read(KEYS[0]) == content


class _DyingAtPut(LocalBlobStore):
    """The process dies before or after the file is there."""

    step: Callable[[], None]

    async def put_bytes(self, key: str, content: bytes, about: About = ABOUT) -> None:
        self.step()
        await super().put_bytes(key, content, about)
        self.step()


@pytest.mark.parametrize("steps", range(2))
async def test_a_process_that_dies_while_it_falls_back_leaves_no_file_that_nobody_heals(
    steps: int, down: StorageSettings, s3: S3BlobStore, tmp_path: Path
) -> None:
    async with opening.open_s3(down) as away:
        dying = _DyingAtPut(tmp_path)
        dying.step = dies_after(steps)
        with pytest.raises(Died):
            await FallbackBlobStore(dying, away).put_bytes("uploads/a", b"x", ABOUT)
    store = FallbackBlobStore(LocalBlobStore(tmp_path), s3)
    assert (await heal(store, now() + timedelta(hours=2))).left == 0
    assert await s3.exists("uploads/a") == (steps == 1)
    assert not await store.local.exists("uploads/a")


@pytest.mark.parametrize("server", [pytest.param("versitygw", marks=pytest.mark.versitygw)], indirect=True)
async def test_uploads_go_to_the_folder_when_the_keys_are_refused_too(
    settings: StorageSettings, tmp_path: Path
) -> None:
    known = {**settings.model_dump(), "s3_secret_access_key": "a-wrong-one"}
    await fallen_back(StorageSettings.model_validate(known), tmp_path, {KEYS[0]: b"kept"})
    async with opening.open_blobs(settings, tmp_path) as store:
        assert isinstance(store, FallbackBlobStore)
        assert await store.local.read(KEYS[0]) == b"kept"
        assert (await heal(store, now())).moved == 1


@pytest.mark.parametrize("server", [pytest.param("versitygw", marks=pytest.mark.versitygw)], indirect=True)
async def test_a_file_that_s3_will_not_take_does_not_hold_the_others_up(
    down: StorageSettings, settings: StorageSettings, tmp_path: Path
) -> None:
    await fallen_back(down, tmp_path, {"temp/taken/inside": b"x"})
    await fallen_back(down, tmp_path, {KEYS[0]: b"y"})
    async with opening.open_blobs(settings, tmp_path) as store:
        assert isinstance(store, FallbackBlobStore)
        await store.s3.put_bytes("temp/taken", b"a file where this server would need a folder")
        done = await heal(store, now())
        assert (done.moved, done.left) == (1, 1)
        assert done.reason is not None
        assert await store.s3.read(KEYS[0]) == b"y"
        assert await store.read("temp/taken/inside") == b"x"


async def test_a_note_whose_file_never_came_is_forgotten_after_an_hour(s3: S3BlobStore, tmp_path: Path) -> None:
    store = FallbackBlobStore(LocalBlobStore(tmp_path), s3)
    await asyncio.to_thread(store.markers.mark, KEYS[0], ABOUT)
    assert (await heal(store, now())).left == 1, "somebody may be writing it"
    assert (await heal(store, now() + timedelta(hours=2))).left == 0
    assert store.markers.all() == []


async def test_what_is_neither_here_nor_reachable_is_not_gone(down: StorageSettings, tmp_path: Path) -> None:
    async with opening.open_blobs(down, tmp_path) as store:
        with pytest.raises(Unavailable):
            await store.read(KEYS[0])
        with pytest.raises(Unavailable):
            await store.exists(KEYS[0])
        began = time.monotonic()
        with pytest.raises(Unavailable, match="at present"):
            await store.exists(KEYS[0])
        assert time.monotonic() - began < 0.5
