"""Words with times that can be relied on, whatever a model has said about them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given

from millrace.contracts.events import Segment, Word
from millrace.transcripts.tokens import Token, joined, tokens_of
from tests.unit.transcripts.build import bad_segments, said


def timed(tokens: list[Token]) -> list[tuple[str, int, int]]:
    return [(token.text, token.start_ms, token.end_ms) for token in tokens]


@given(bad_segments())
def test_times_never_go_backwards_and_no_word_ends_after_the_next_has_begun(segments: list[Segment]) -> None:
    tokens = tokens_of(segments, 42)
    assert all(before.end_ms <= token.start_ms for before, token in pairwise(tokens))
    assert all(0 <= token.start_ms <= token.end_ms for token in tokens)
    assert all(token.end_ms < 100 * 3_600_000 for token in tokens), "SubRip has two digits for hours"


def test_words_that_overlap_or_run_backwards_keep_their_order() -> None:
    overlapping = said("one two three", timed=[(0, 900), (400, 700), (300, 1200)])
    assert timed(tokens_of([overlapping])) == [("one", 0, 400), ("two", 400, 700), ("three", 700, 1200)]


def test_words_without_length_share_the_time_until_the_next() -> None:
    stuck = said("aa bb cc dd", timed=[(1000, 1000), (1000, 1000), (1000, 1000), (1300, 1600)])
    assert timed(tokens_of([stuck])) == [
        ("aa", 1000, 1100),
        ("bb", 1100, 1200),
        ("cc", 1200, 1300),
        ("dd", 1300, 1600),
    ]


def test_a_word_that_is_held_until_the_next_ends_before_the_pause() -> None:
    held = said("well yes", 0, 20_000, timed=[(0, 15_000), (15_000, 15_400)])
    assert timed(tokens_of([held])) == [("well", 0, 2320), ("yes", 15_000, 15_400)]


def test_times_of_words_are_taken_only_where_they_are_of_the_same_words() -> None:
    words = [Word(start_ms=0, end_ms=100, text="twenty"), Word(start_ms=100, end_ms=200, text="per cent")]
    other = Segment(start_ms=0, end_ms=1000, text="20% of", words=words)
    assert [(token.start_ms, token.end_ms, token.timed) for token in tokens_of([other])] == [
        (0, 600, False),
        (600, 1000, False),
    ]
    same = other.model_copy(update={"text": "Twenty \u2013 per cent!"})
    assert timed(tokens_of([same])) == [
        ("Twenty", 0, 100),
        ("\u2013", 100, 111),
        ("per", 111, 144),
        ("cent!", 144, 200),
    ]


@pytest.mark.parametrize("text", ["Ask not", "\u4f60\u597d GPT\u5417", "x" * 100 + " y"])
def test_joined_tokens_are_the_text(text: str) -> None:
    assert joined(tokens_of([said(text)], 42)) == text
