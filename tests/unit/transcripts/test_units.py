from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.transcripts.units import pieces, width

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@given(st.text(min_size=1).filter(lambda text: not any(map(str.isspace, text))), st.integers(2, 10))
def test_pieces_are_the_word_and_fit_a_line(word: str, columns: int) -> None:
    parts = [part for piece in pieces(word, columns) for part in piece]
    assert "".join(parts) == word
    assert all(width(part) <= columns or FAMILY[1] in part for part in parts)


@pytest.mark.parametrize(
    ("word", "broken"),
    [
        ("unbreakable", ["unbreakable"]),
        ("\u4f60\u597dGPT\u3002", ["\u4f60", "\u597d", "GPT\u3002"]),
        ("\u300c\u3061\u3087\u3063\u3068\u300d", ["\u300c\u3061\u3087\u3063", "\u3068\u300d"]),
        ("\u0e40\u0e23\u0e32", ["\u0e40\u0e23\u0e32"]),
        ("e\u0301e\u0301", ["e\u0301e\u0301"]),
    ],
)
def test_a_word_is_broken_where_its_script_allows(word: str, broken: list[str]) -> None:
    assert pieces(word, 42) == [[piece] for piece in broken]


def test_what_is_seen_as_one_is_never_cut() -> None:
    assert pieces("e\u0301" * 4, 2) == [["e\u0301e\u0301"] * 2]
    assert pieces(FAMILY, 2) == [[FAMILY]]
