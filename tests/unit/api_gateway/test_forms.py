from __future__ import annotations

import asyncio
import hashlib
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.errors import Unavailable
from services.api_gateway.errors import BadRequest, RequestRefused, TooLarge, Unreadable
from services.api_gateway.forms import Limits, receive_form

TYPE = "multipart/form-data; boundary=xyz"
LIMITS = Limits(upload=1000, text=100)


def part(name: str, value: bytes, filename: str | None = None, media_type: str | None = None) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    head += "" if filename is None else f'; filename="{filename}"'
    head += "" if media_type is None else f"\r\nContent-Type: {media_type}"
    return b"--xyz\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--xyz--\r\n"


async def sent(body: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(content=st.binary(min_size=1, max_size=900), size=st.integers(1, 50))
async def test_a_file_arrives_unchanged_however_it_is_cut_up(tmp_path: Path, content: bytes, size: int) -> None:
    body = form(part("title", "Ein Gespräch".encode()), part("file", content, "gespräch.mp4", "video/mp4"))
    async with receive_form(TYPE, sent(body, size), tmp_path, LIMITS) as received:
        file = received.file
        assert file is not None
        assert file.path.read_bytes() == content
        assert (file.size, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert (file.filename, file.media_type) == ("gespräch.mp4", "video/mp4")
        assert received.fields == {"title": ["Ein Gespräch"]}
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (form(part("file", b"x" * 1001, "a")), TooLarge, "larger than the 1000 bytes"),
        (form(part("text", b"x" * 101)), TooLarge, "more than the 100 bytes"),
        (form(part("title", b"x" * 70_000)), TooLarge, "title is longer than 64 KiB"),
        (form(part("file", b"", "a.mp4")), BadRequest, "file is empty"),
        (form(part("file", b"x", "a"), part("file", b"y", "b")), BadRequest, "more than one file"),
        (form(part("video", b"x", "a.mp4")), BadRequest, "expected in the part file"),
        (form(part("title", b"\xff\xfe")), Unreadable, "not UTF-8"),
        (form(part("file", b"x", "a"))[:-8], Unreadable, "ends before"),
        (b"not a form at all", Unreadable, "not the multipart form"),
        (form(*[part("tags", b"x")] * 101), TooLarge, "100 parts"),
    ],
)
async def test_a_bad_form_is_refused_in_one_sentence_and_leaves_nothing_behind(
    tmp_path: Path, body: bytes, error: type[RequestRefused], words: str
) -> None:
    with pytest.raises(error, match=words):
        async with receive_form(TYPE, sent(body, 7), tmp_path, LIMITS):
            pass
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield part("file", b"", "a")[:-2]
        while True:
            taken += 500
            yield b"x" * 500

    with pytest.raises(TooLarge):
        async with receive_form(TYPE, endless(), tmp_path, LIMITS):
            pass
    assert taken <= 1500


async def test_a_file_field_that_was_left_blank_in_a_browser_is_no_file(tmp_path: Path) -> None:
    body = form(part("text", b"hello"), part("file", b"", "", "application/octet-stream"))
    async with receive_form(TYPE, sent(body), tmp_path, LIMITS) as received:
        assert received.file is None
        assert received.fields == {"text": ["hello"]}


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """No file may become larger than that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_not_taken_for_the_database(tmp_path: Path) -> None:
    limits = Limits(upload=10_000, text=100)
    body = form(part("file", b"x" * 5000, "a"))  # fits the buffer, which is written again at the close
    with full_disk(at=1000), pytest.raises(Unavailable, match="The upload cannot be kept: File too large"):
        async with receive_form(TYPE, sent(body), tmp_path, limits):
            pass
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_a_folder_that_is_away_is_not_taken_for_the_database(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="The upload cannot be kept: No such file or directory"):
        async with receive_form(TYPE, sent(form(part("file", b"x", "a"))), tmp_path / "away", LIMITS):
            pass
