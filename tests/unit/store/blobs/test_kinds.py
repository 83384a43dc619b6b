from __future__ import annotations

import pytest

from millrace.store.blobs.kinds import safe_type


@pytest.mark.parametrize(
    ("key", "said", "told"),
    [
        ("uploads/ab/a.mp4", None, "video/mp4"),
        ("uploads/ab/a.mp3", None, "audio/mpeg"),
        ("transcripts/ab/a.json", None, "application/json"),
        ("temp/a.bin", "Video/MP4", "video/mp4"),
        ("uploads/ab/a", None, "application/octet-stream"),
        ("uploads/ab/a.html", None, "application/octet-stream"),
        ("uploads/ab/a.svg", None, "application/octet-stream"),
        ("uploads/ab/a.js", None, "application/octet-stream"),
        ("uploads/ab/a.xml", None, "application/octet-stream"),
        ("uploads/ab/a.mp4", "text/html", "application/octet-stream"),
        ("uploads/ab/a.mp4", "video/mp4, text/html", "application/octet-stream"),
        ("uploads/ab/a.mp4", "video/mp4\r\nx: y", "application/octet-stream"),
    ],
)
def test_nothing_is_told_to_be_a_page(key: str, said: str | None, told: str) -> None:
    assert safe_type(key, said) == told
