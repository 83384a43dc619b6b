from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.errors import Poison
from services.media_agent.domain import Probe, caption_of, check_length, check_probe, is_platform, said_of


@pytest.mark.parametrize(
    ("probe", "reason"),
    [
        (Probe("wav", 0, "pcm_s16le", None), "0 seconds"),
        (Probe("mp4", 1000, None, None), "neither sound nor moving pictures"),
        (Probe("mp4", 1_800_001, "aac", None), "at most 30 min"),
    ],
)
def test_media_that_no_stage_can_use_is_refused_with_the_reason(probe: Probe, reason: str) -> None:
    with pytest.raises(Poison, match=reason):
        check_probe(probe, longest=timedelta(minutes=30))


def test_half_an_hour_is_not_too_long() -> None:
    check_probe(Probe("mp4", 1_800_000, "aac", None), longest=timedelta(minutes=30))


def test_the_length_that_a_site_says_is_judged_like_a_probed_one() -> None:
    check_length(timedelta(minutes=30), longest=timedelta(minutes=30))
    with pytest.raises(Poison, match="lasts 35 min; at most 30 min"):
        check_length(timedelta(minutes=35), longest=timedelta(minutes=30))


def test_what_a_site_says_is_kept_within_bounds() -> None:
    said = said_of(
        {
            "title": " A\0talk " + "x" * 1000,
            "description": "y" * 20_000,
            "uploader": "Ada",
            "extractor_key": "Youtube",
            "upload_date": ["20260101"],
            "channel": "  ",
            "url": "https://cdn.example/v.mp4?token=secret",
            "http_headers": {"Cookie": "secret"},
        }
    )
    assert said.title is not None
    assert said.title.startswith("A\ufffdtalk")
    assert len(said.title) == 500
    assert said.metadata.keys() == {"description", "uploader", "platform"}
    assert len(said.metadata["description"]) == 10_000
    assert "secret" not in str(said)
    assert said_of({}).title is None


def test_a_caption_is_title_and_description_and_neither_twice() -> None:
    assert caption_of("A talk", "About mills").text == "A talk\n\nAbout mills"
    assert caption_of("A talk", "A talk about mills").text == "A talk about mills"
    assert caption_of(" ", "").text == ""
    assert caption_of("", "Only this").said.title is None


def test_platforms_are_known_by_their_host() -> None:
    assert is_platform("www.YouTube.com.")
    assert is_platform("youtu.be")
    assert not is_platform("youtube.com.example.org")
    assert not is_platform("notyoutube.com")
