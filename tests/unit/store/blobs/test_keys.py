from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.store.blobs import BadKey, check_key, content_key, is_temporary, media_key
from millrace.store.blobs.keys import drawn

SHA = hashlib.sha256(b"x").hexdigest()


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
    ("suffix", "kept"),
    [
        (".MP4", ".mp4"),
        (".Mp3", ".mp3"),
        (".json", ".json"),
        ("", ""),
        (".tar.gz", ""),
        ("/../x", ""),
        (".averylongsuffix", ""),
        (".html", ""),
        (".svg", ""),
        (".js", ""),
    ],
)
def test_a_content_key_keeps_only_a_suffix_of_media(suffix: str, kept: str) -> None:
    assert content_key("media", SHA, suffix) == f"media/{SHA[:2]}/{SHA}{kept}"


def test_a_content_key_needs_a_real_hash() -> None:
    with pytest.raises(BadKey):
        content_key("media", "../" + SHA[3:])


def test_the_day_of_a_key_is_that_of_utc() -> None:
    late = datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert media_key(SHA, ".MP4", late) == f"temp/videos/2025/12/31/{SHA}-{int(late.timestamp())}.mp4"


@pytest.mark.parametrize("suffix", ["", ".tar.gz", "/../x", ".averylongsuffix", "mp4", ".html"])
def test_media_of_no_plain_kind_has_a_suffix_all_the_same(suffix: str) -> None:
    key = media_key(SHA, suffix, datetime(2026, 11, 27, tzinfo=UTC))
    assert key.endswith(".bin")
    check_key(key)


def test_media_needs_a_real_hash() -> None:
    with pytest.raises(BadKey):
        media_key("../" + SHA[3:], ".mp4", datetime(2026, 11, 27, tzinfo=UTC))


def test_only_what_lies_under_temp_expires() -> None:
    assert is_temporary("temp/videos/a")
    assert not any(map(is_temporary, ("uploads/temp/a", "temporary/a", "temp", "transcripts/a")))


@given(st.text(), st.integers(0, 99))
def test_who_is_drawn_at_a_share_is_drawn_at_every_larger_one(key: str, percent: int) -> None:
    assert drawn(key, 100)
    assert not drawn(key, 0)
    assert not drawn(key, percent) or drawn(key, percent + 1)


def test_about_the_share_is_drawn() -> None:
    assert 800 < sum(drawn(f"temp/videos/{n}", 10) for n in range(10_000)) < 1200
