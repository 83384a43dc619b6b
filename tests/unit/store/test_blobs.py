from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import Unavailable
from millrace.store.blobs import BadKey, BlobMissing, LocalBlobStore, check_key, content_key

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
        assert store.url("media/a.wav") == path.as_uri()
    assert original.read_bytes() == b"sound"


async def test_what_is_missing_says_so(tmp_path: Path) -> None:
    store = LocalBlobStore(tmp_path)
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
