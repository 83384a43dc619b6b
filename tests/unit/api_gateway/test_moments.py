from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.events import Segment, Word
from services.api_gateway.moments import Sentence, best_sentence, link_at

SAID = [
    Segment(start_ms=0, end_ms=4_000, text="Welcome to the mill. It is old."),
    Segment(start_ms=4_000, end_ms=9_000, text="The wheel was built in 1890"),
    Segment(start_ms=9_000, end_ms=12_000, text="by my grandfather. Thanks for listening."),
]
WORTH = {"the": 0.5, "wheel": 4.0, "built": 3.0, "old": 2.0}


def test_the_sentence_with_most_of_the_words_worth_is_found_across_segments() -> None:
    best = best_sentence(SAID, 0, 12_000, WORTH)
    assert best is not None
    assert best.text == "The wheel was built in 1890 by my grandfather."
    assert best.start_ms == 4_000
    assert 9_000 < best.end_ms < 12_000


def test_a_rare_word_goes_before_common_ones() -> None:
    said = [Segment(start_ms=0, end_ms=9_000, text="This is what the man said to the people. Rye grows here.")]
    best = best_sentence(said, 0, 9_000, {"what": 0.5, "the": 0.3, "people": 1.0, "said": 0.8, "rye": 6.0})
    assert best is not None
    assert best.text == "Rye grows here."


def test_without_a_word_of_the_query_it_is_the_first_sentence() -> None:
    assert best_sentence(SAID, 0, 12_000, {"oven": 5.0}) == best_sentence(SAID, 0, 12_000, {})
    assert (first := best_sentence(SAID, 0, 12_000, {})) is not None
    assert first.text == "Welcome to the mill."


def test_only_what_is_said_in_the_passage_counts() -> None:
    best = best_sentence(SAID, 0, 4_000, WORTH)
    assert best is not None
    assert best.text == "It is old."
    assert best.end_ms <= 4_000
    begun = best_sentence(SAID, 7_000, 12_000, {"wheel": 4.0, "listening": 1.0})
    assert begun is not None
    assert begun.text == "Thanks for listening.", "the wheel is said before"
    assert best_sentence(SAID, 20_000, 30_000, WORTH) is None
    assert best_sentence([], 0, 1, WORTH) is None


def test_times_are_those_of_the_words() -> None:
    spoken = ["A", "b.", "C", "d.", "E", "f."]
    words = [Word(start_ms=n * 500, end_ms=n * 500 + 400, text=text) for n, text in enumerate(spoken)]
    said = [Segment(start_ms=0, end_ms=3_000, text="A b. C d. E f.", words=words)]
    assert best_sentence(said, 0, 3_000, {"d": 1.0}) == Sentence("C d.", 1_000, 1_900)


def test_speech_without_punctuation_is_cut_where_segments_begin() -> None:
    said = [Segment(start_ms=n * 8_000, end_ms=n * 8_000 + 8_000, text=f"and part {n}") for n in range(6)]
    best = best_sentence(said, 0, 48_000, {"4": 1.0})
    assert best == Sentence("and part 4 and part 5", 32_000, 48_000)


@given(st.lists(st.tuples(st.text(max_size=60), st.integers(-5, 90_000), st.integers(0, 9_000)), max_size=6))
def test_a_sentence_lies_in_order_whatever_a_model_has_said(said: list[tuple[str, int, int]]) -> None:
    segments = [Segment(start_ms=at, end_ms=at + lasts, text=text) for text, at, lasts in said]
    best = best_sentence(segments, 0, 60_000, {"a": 1.0})
    assert best is None or (0 <= best.start_ms <= best.end_ms and best.text.strip())


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("https://www.youtube.com/watch?v=abc&t=5s", "https://www.youtube.com/watch?v=abc&t=83s"),
        ("https://youtu.be/abc", "https://youtu.be/abc?t=83s"),
        ("https://www.twitch.tv/videos/1", "https://www.twitch.tv/videos/1?t=0h1m23s"),
        ("https://media.example.org/talk.mp4?a=1#x", "https://media.example.org/talk.mp4?a=1#t=83"),
        ("https://notyoutube.com/watch?v=abc", "https://notyoutube.com/watch?v=abc#t=83"),
        ("javascript:alert(1)//youtube.com", None),
        ("https://[::1", None),
        ("https://", None),
        ("", None),
        (None, None),
    ],
)
def test_a_link_begins_at_the_moment(url: str | None, link: str | None) -> None:
    assert link_at(url, 83_900) == link
