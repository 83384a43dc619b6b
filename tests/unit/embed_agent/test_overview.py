from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.events import Segment, Word
from millrace.testing.samples import share_created, transcript_ready
from services.embed_agent.overview import MOST_CHARACTERS, about, beginning, first_said, overview


def test_a_text_is_about_its_title_description_and_tags() -> None:
    event = share_created(text="x", title=" A  mill ", description="Its\n<i>wheel</i>", tags=["water", "1890"])
    assert about(event) == ["A mill", "Its wheel", "water, 1890"]
    assert about(share_created(text="x", title="  ")) == []


def test_a_transcript_is_about_its_title() -> None:
    assert about(transcript_ready(title="A #WaterMill")) == ["A Water Mill"]
    assert about(transcript_ready(title=None)) == []


def test_an_overview_leaves_out_what_is_blank() -> None:
    assert overview(["Mills", " "], "It turns.") == "Mills\n\nIt turns."
    assert overview([], "") == ""


def test_a_beginning_has_eighty_words() -> None:
    assert beginning(" ".join(f"w{n}" for n in range(200))) == " ".join(f"w{n}" for n in range(80))
    assert beginning("three  short\nwords") == "three short words"


@given(st.text(max_size=3_000))
def test_a_beginning_is_bounded_and_begins_the_text(text: str) -> None:
    begins = beginning(text)
    assert len(begins) <= MOST_CHARACTERS
    assert " ".join(text.split()).startswith(begins)
    assert bool(begins) == bool(text[: 2 * MOST_CHARACTERS].strip())


def test_what_is_said_first_lasts_thirty_seconds_from_the_first_word() -> None:
    words = [Word(start_ms=n * 1_000, end_ms=n * 1_000 + 500, text=f"w{n}") for n in range(12, 100)]
    said = [Segment(start_ms=0, end_ms=100_000, text="words", words=words)]
    assert first_said(said) == " ".join(f"w{n}" for n in range(12, 42))
    assert first_said([]) == ""


@pytest.mark.parametrize("description", ["word " * 100_000, "x" * 100_000, "<" * 1_000 + "word " * 100_000])
def test_a_description_of_any_length_is_cut(description: str) -> None:
    (part,) = about(share_created(text="x", description=description))
    assert len(part) <= MOST_CHARACTERS
