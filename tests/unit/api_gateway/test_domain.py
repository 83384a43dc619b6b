from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.events import StageName, TaskState
from millrace.contracts.share_api import ShareRequest, ShareState
from services.api_gateway.domain import (
    Upload,
    about,
    blocked,
    check_url,
    draft,
    exact,
    platform_of,
    safe_filename,
    share_state,
)
from services.api_gateway.errors import BadRequest, TooLarge

LIMIT = 512 << 10


def test_a_text_needs_no_media_stages() -> None:
    share = draft(ShareRequest(text="abc", tags=["a"]), None, max_text_bytes=LIMIT)
    assert (share.source_kind, share.content_type, share.tags) == ("text", "article", ("a",))
    assert share.stages == ("summarize", "embed")


def test_a_text_says_how_it_is_cut_and_media_cannot() -> None:
    assert draft(ShareRequest(text="abc", chunker="fixed"), None, max_text_bytes=LIMIT).options == {
        "embed.chunker": "fixed"
    }
    assert draft(ShareRequest(text="abc"), None, max_text_bytes=LIMIT).options == {}
    with pytest.raises(BadRequest, match="chunker is for texts"):
        draft(ShareRequest(url="https://example.org/a.mp4", chunker="fixed"), None, max_text_bytes=LIMIT)


def test_a_url_goes_through_all_stages_of_media() -> None:
    share = draft(ShareRequest(url="https://www.youtube.com/watch?v=1"), None, max_text_bytes=LIMIT)
    assert (share.platform, share.content_type) == ("youtube", "video")
    assert share.stages == ("media", "transcribe", "summarize", "embed")


@pytest.mark.parametrize(
    ("filename", "declared", "kind"),
    [
        ("talk.mp4", "video/mp4", "video"),
        ("talk.WAV", None, "audio"),
        ("talk", "audio/ogg", "audio"),
        (None, None, "video"),
    ],
)
def test_an_upload_is_audio_or_video_by_what_was_declared_or_by_its_name(
    filename: str | None, declared: str | None, kind: str
) -> None:
    share = draft(ShareRequest(), Upload("uploads/aa/b", filename, declared), max_text_bytes=LIMIT)
    assert (share.platform, share.content_type, share.blob_key) == ("upload", kind, "uploads/aa/b")


def test_what_the_sharer_says_about_the_content_wins() -> None:
    assert draft(ShareRequest(text="short", content_type="tweet"), None, max_text_bytes=9).content_type == "tweet"


@pytest.mark.parametrize("fields", [ShareRequest(), ShareRequest(url="https://example.org", text="x")])
def test_a_share_is_exactly_one_thing(fields: ShareRequest) -> None:
    with pytest.raises(BadRequest, match="exactly one of url, text and file"):
        draft(fields, None, max_text_bytes=LIMIT)


def test_a_text_above_the_limit_says_both_sizes() -> None:
    with pytest.raises(TooLarge, match=r"10\.0 MB of text is more than the 512 KiB that a text share may have"):
        draft(ShareRequest(text="x" * 10_000_000), None, max_text_bytes=LIMIT)


def test_the_limit_of_a_text_counts_bytes_and_includes_the_limit_itself() -> None:
    assert draft(ShareRequest(text="é" * 4), None, max_text_bytes=8).text == "éééé"
    with pytest.raises(TooLarge):
        draft(ShareRequest(text="é" * 4 + "e"), None, max_text_bytes=8)


@pytest.mark.parametrize("fields", [{"text": " \n"}, {"text": "a\0b"}, {"text": "a", "title": "\0"}])
def test_text_that_is_blank_or_binary_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(BadRequest):
        draft(ShareRequest.model_validate(fields), None, max_text_bytes=LIMIT)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a",
        "javascript:alert(1)",
        "example.org/a.mp3",
        "https://",
        "https://[::1",
        "https://example.org:port/",
        "https://user:secret@example.org/",
        "https://exa mple.org/",
        "https://example.org/\r\nX: y",
        "https://example.org/" + "a" * 5000,
    ],
)
def test_only_plain_http_urls_are_taken_and_refusals_repeat_nothing_of_them(url: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "platform"),
    [
        ("youtu.be", "youtube"),
        ("M.YouTube.com.", "youtube"),
        ("vm.tiktok.com", "tiktok"),
        ("old.reddit.com", "reddit"),
        ("twitter.com", "x"),
        ("netflix.com", "web"),
        ("youtube.com.evil.org", "web"),
        ("podcasts.apple.com", "podcast"),
        ("apple.com", "web"),
    ],
)
def test_a_platform_is_known_by_whole_labels_of_its_host(host: str, platform: str) -> None:
    assert platform_of(host) == platform


@given(st.text(max_size=600))
def test_a_filename_never_leads_anywhere(name: str) -> None:
    kept = safe_filename(name)
    assert kept is None or (len(kept) <= 255 and not set(kept) & set("/\\\0\n"))


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        (["done", "skipped"], "done"),
        (["done", "queued"], "running"),
        (["queued", "queued"], "queued"),
        (["failed", "running"], "failed"),
        (["parked", "running"], "running"),
        (["done", "parked", "queued"], "parked"),
        (["waiting", "queued"], "waiting"),
        (["parked", "waiting"], "parked"),
        (["done", "cancelled", "skipped"], "cancelled"),
        (["running", "cancelled"], "running"),
        (["failed", "cancelled"], "failed"),
        (["queued", "cancelled"], "running"),
    ],
)
def test_the_state_of_a_share_follows_from_its_stages(states: list[TaskState], whole: ShareState) -> None:
    assert share_state(states) == whole


def test_stages_behind_a_failed_or_parked_one_say_what_they_wait_for() -> None:
    stages: list[tuple[StageName, TaskState]] = [
        ("media", "done"),
        ("transcribe", "failed"),
        ("summarize", "queued"),
        ("embed", "queued"),
    ]
    assert blocked(stages) == dict.fromkeys(("summarize", "embed"), "needs transcribe, which failed")
    assert blocked([("summarize", "failed"), ("embed", "queued")]) == {}


def test_sizes_are_said_in_units_people_know() -> None:
    assert [about(n) for n in (1, 3, 10_485_760, 2_500_000_000)] == ["1 byte", "3 bytes", "10.5 MB", "2.5 GB"]
    assert [exact(n) for n in (524_288, 500_000_000, 2 << 20, 1000)] == ["512 KiB", "500 MB", "2 MiB", "1000 bytes"]
