from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from millrace.errors import Unavailable
from millrace.store.blobs import BlobMissing, LocalBlobStore, durable, fingerprint


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_was_put_is_read_back_and_the_original_stays(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path / "store")
    original = tmp_path / "original"
    original.write_bytes(b"sound")
    await store.put_file("media/a.wav", original)
    assert await store.exists("media/a.wav")
    assert await store.read("media/a.wav") == b"sound"
    async with store.local_copy("media/a.wav") as path:
        assert path.read_bytes() == b"sound"
    assert await store.url("media/a.wav") == (tmp_path / "store" / "media" / "a.wav").as_uri()
    assert original.read_bytes() == b"sound"


async def test_what_is_missing_says_so(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)
    await store.put_bytes("other", b"x")
    assert not await store.exists("a")
    with pytest.raises(BlobMissing, match="share it again"):
        await store.read("a")
    with pytest.raises(BlobMissing):
        async with store.local_copy("a"):
            pass


async def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)
    await store.put_bytes("taken", b"a file where a folder would have to be")
    with pytest.raises(Unavailable):
        await store.put_bytes("taken/inside", b"x")
    (tmp_path / "folder" / "child").mkdir(parents=True)
    with pytest.raises(Unavailable):  # written whole, but a folder has the name
        await store.put_bytes("folder", b"x")
    assert files_in(tmp_path) == [tmp_path / "taken"]


async def test_readers_never_see_half_a_file_while_writers_replace_it(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)
    contents = [bytes([n]) * 200_000 for n in range(4)]
    await store.put_bytes("same", contents[0])
    writes = asyncio.gather(*(store.put_bytes("same", content) for content in contents * 5))
    while not writes.done():
        assert await store.read("same") in contents
    await writes


async def lend(store: LocalBlobStore, key: str) -> bytes:
    async with store.local_copy(key) as path:
        return await asyncio.to_thread(path.read_bytes)


@pytest.mark.parametrize("ask", [LocalBlobStore.read, lend])
async def test_what_a_store_that_is_not_mounted_holds_is_not_gone(
    ask: Callable[[LocalBlobStore, str], Awaitable[bytes]], tmp_path: Path
) -> None:
    missing, mount_point = LocalBlobStore(tmp_path / "missing"), LocalBlobStore(tmp_path)
    for store in (missing, mount_point):
        with pytest.raises(Unavailable, match="mount it"):
            await ask(store, "a")


@pytest.mark.parametrize("ask", [LocalBlobStore.exists, LocalBlobStore.read, lend])
async def test_a_file_is_no_store(ask: Callable[[LocalBlobStore, str], Awaitable[object]], tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"x")
    with pytest.raises(Unavailable, match="MILLRACE_BLOBS"):
        await ask(LocalBlobStore(tmp_path / "store"), "a")


async def test_a_new_store_is_empty_and_takes_what_comes(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path / "yet" / "to-be-made")
    assert not await store.exists("a")
    await store.put_bytes("a", b"x")
    assert await store.read("a") == b"x"


@pytest.mark.parametrize("failure", [errno.EACCES, errno.ESTALE, errno.EIO])
@pytest.mark.parametrize("ask", [LocalBlobStore.exists, LocalBlobStore.read, lend])
async def test_a_disk_that_fails_is_waited_for(
    ask: Callable[[LocalBlobStore, str], Awaitable[object]],
    failure: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = LocalBlobStore(tmp_path)
    await store.put_bytes("a", b"x")

    def stat(self: Path, **_: object) -> os.stat_result:
        raise OSError(failure, os.strerror(failure), str(self))

    with monkeypatch.context() as broken:
        broken.setattr(Path, "stat", stat)
        with pytest.raises(Unavailable, match="cannot be read") as told:
            await ask(store, "a")
    assert str(tmp_path) not in str(told.value)


async def test_a_file_that_cannot_be_opened_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalBlobStore(tmp_path)
    await store.put_bytes("a", b"x")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(Path, "open", refused)
        broken.setattr(Path, "read_bytes", refused)
        for use in (store.read("a"), store.put_file("b", tmp_path / "a"), fingerprint(tmp_path / "a")):
            with pytest.raises(Unavailable, match="cannot be read"):
                await use


async def test_a_lent_file_outlives_its_key(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)
    await store.put_bytes("temp/a.mp4", b"x")
    async with store.local_copy("temp/a.mp4") as path:
        await store.delete("temp/a.mp4")
        assert path.read_bytes() == b"x"
    assert files_in(tmp_path) == [], "and no longer"


async def test_a_folder_that_cannot_be_written_lends_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBlobStore(tmp_path)
    await store.put_bytes("a.mp4", b"x")

    def link(*_: object) -> None:
        raise OSError(errno.EPERM, "no second names here")

    monkeypatch.setattr(os, "link", link)
    async with store.local_copy("a.mp4") as path:
        assert path == tmp_path / "a.mp4"
    assert path.exists()


async def test_what_is_deleted_is_gone_and_may_be_deleted_again(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)
    await store.put_bytes("a/b", b"x")
    for _ in range(2):
        await store.delete("a/b")
        assert not await store.exists("a/b")
    await store.delete("never/there")
    await store.put_bytes("a/c", b"x")
    await store.delete("a/c/d")
    assert await store.exists("a/c")


async def test_every_folder_that_is_made_for_a_file_is_there_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", synced.append)
    root = tmp_path / "volume" / "blobs"
    await LocalBlobStore(root).put_bytes("temp/videos/2026/a.mp4", b"x")
    made_in = [tmp_path, root.parent, root, root / "temp", root / "temp/videos"]
    assert set(made_in) <= set(synced)
    assert synced[-1] == root / "temp/videos/2026"
