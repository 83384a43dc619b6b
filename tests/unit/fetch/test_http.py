from __future__ import annotations

import pytest

from millrace.fetch.http import leads_elsewhere


@pytest.mark.parametrize(
    ("content_type", "start", "what"),
    [
        ("video/mp4", b"\0\0\0\x20ftypisom", None),
        ("application/octet-stream", b"RIFF\0\0\0\0WAVE", None),
        ("video/mp4", b"", None),
        ("text/html", b"<p>hello", "a web page"),
        ("Application/XHTML+XML", b"", "a web page"),
        ("video/mp4", b"\n <!DOCTYPE html><html>", "a web page"),
        ("text/plain", b"\xef\xbb\xbf#EXTM3U\n", "a playlist"),
        ("text/html", b"#EXTM3U\n", "a playlist"),
        ("application/octet-stream", b'<?xml version="1.0"?>\n<MPD xmlns="x">', "a playlist"),
        ("application/dash+xml", b"", "a playlist"),
        ("application/vnd.apple.mpegurl", b"", "a playlist"),
        ("image/svg+xml", b'<?xml version="1.0"?><svg/>', None),
    ],
)
def test_content_counts_for_more_than_what_its_server_calls_it(
    content_type: str, start: bytes, what: str | None
) -> None:
    assert leads_elsewhere(content_type, start) == what
