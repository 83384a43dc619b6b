from __future__ import annotations

from email.message import Message

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.transcript_api import MEDIA_TYPES
from services.api_gateway.representation import attachment, preferred


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "json"),
        ("", "json"),
        ("*/*", "json"),
        ("text/vtt", "vtt"),
        ("TEXT/VTT; charset=utf-8", "vtt"),
        ("application/x-subrip, */*;q=0.1", "srt"),
        ("text/plain;q=0.5, text/vtt;q=0.9", "vtt"),
        ("text/*", "vtt"),
        ("text/*, text/vtt;q=0.2", "txt"),
        ("*/*, application/json;q=0", "srt"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "json"),
        ("image/png", "json"),
        ("text/plain;q=nan, text/vtt;q=-1, ;;,q=,", "json"),
    ],
)
def test_the_format_is_the_one_that_the_client_likes_best(accept: str | None, chosen: str) -> None:
    assert preferred(accept, MEDIA_TYPES) == chosen


@given(st.text())
def test_no_accept_header_is_an_error(accept: str) -> None:
    assert preferred(accept, MEDIA_TYPES) in MEDIA_TYPES


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("A talk", 'filename="A talk.srt"'),
        (None, 'filename="transcript.srt"'),
        ("../../etc/passwd", 'filename="etc passwd.srt"'),
        ('x"; filename="evil.exe\r\nset-cookie: a=b', 'filename="x ; filename= evil.exe set-cookie a=b.srt"'),
        ("\u4f60\u597d", "filename=\"transcript.srt\"; filename*=UTF-8''%E4%BD%A0%E5%A5%BD.srt"),
        ("gp\u202egnp", 'filename="gp gnp.srt"'),
        ("\udcff", 'filename="transcript.srt"'),
        ("x" * 500, f'filename="{"x" * 80}.srt"'),
    ],
)
def test_a_title_becomes_the_name_of_a_file(title: str | None, names: str) -> None:
    assert attachment(title, "srt") == f"attachment; {names}"


@given(st.text())
def test_any_title_is_one_header_of_ascii_with_one_plain_name(title: str) -> None:
    header = attachment(title, "vtt")
    assert header.isascii()
    assert header.isprintable()
    message = Message()
    message["content-disposition"] = header
    assert message.get_content_disposition() == "attachment"
    name = message.get_filename() or ""
    assert name.endswith(".vtt")
    assert not set(name) & set('/\\"\r\n')
    assert not name.startswith(".")
