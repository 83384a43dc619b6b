from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import Unavailable
from millrace.store.blobs import (
    BadKey,
    BlobMissing,
    LocalBlobStore,
    check_key,
    content_key,
    fingerprint,
)

SHA = hashlib.sha256(b"x").hexdigest()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "a//b",
        "a/.",
        ".hidden",
        "a/.incoming",
        "a\\b",
        "a\x00b",
        "a/b/",
        "é",
        "a" * 600,
    ],
)
def test_a_key_that_could_leave_the_store_is_refused(key: str) -> None:
    with pytest.raises(BadKey):
        check_key(key)


@given(st.text(max_size=40))
def test_every_accepted_key_stays_inside_the_folder(key: str) -> None:
    root = Path("/store")
    try:
        parts = check_key(key)
    except BadKey:
        return
    assert root in root.joinpath(*parts).resolve().parents


@pytest.mark.parametrize(
    ("suffix", "kept"), [(".MP4", ".mp4"), ("", ""), (".tar.gz", ""), ("/../x", ""), (".averylongsuffix", "")]
)
def test_a_content_key_keeps_only_a_plain_suffix(suffix: str, kept: str) -> None:
    assert content_key("media", SHA, suffix) == f"media/{SHA[:2]}/{SHA}{kept}"


def test_a_content_key_needs_a_real_hash() -> None:
    with pytest.raises(BadKey):
        content_key("media", "../" + SHA[3:])


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
