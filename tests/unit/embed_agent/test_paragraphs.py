from __future__ import annotations

import re
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.embed_agent.paragraphs import MOST_TOKENS, paragraph_chunks
from services.embed_agent.sizes import MOST_CHUNKS


def count(text: str) -> int:
    """A token a word, and one for each ten letters beyond."""
    return sum(1 + len(word) // 10 for word in text.split())


def split(text: str) -> list[str]:
    return re.findall(r"[^.]*\.\s*|[^.]+$", text)


def letters(text: str) -> str:
    return "".join(text.split())


SENTENCE = st.integers(1, 60).map(lambda n: " ".join(["word"] * n) + ". ")
PARAGRAPH = st.lists(SENTENCE, min_size=1, max_size=30).map("".join)
HEADER = st.integers(1, 6).map(lambda n: "#" * n + " A header")
CODE = st.just("```\n# not a header\n\nx = 1\n```")
TEXT = st.lists(st.one_of(PARAGRAPH, HEADER, CODE), min_size=1, max_size=30).map("\n\n".join)


@given(st.one_of(TEXT, st.text(max_size=3000)))
def test_nothing_is_lost_and_order_is_kept(text: str) -> None:
    chunks = paragraph_chunks(text, count, split)
    assert letters("".join(chunk.text for chunk in chunks)) == letters(text)
    assert all(chunk.text.strip() for chunk in chunks)


@given(TEXT)
def test_chunks_are_400_to_600_tokens_where_paragraphs_allow(text: str) -> None:
    chunks = paragraph_chunks(text, count, split)
    assert all(chunk.tokens == count(chunk.text) <= MOST_TOKENS for chunk in chunks)
    blocks_larger_than_a_third = max(map(count, text.split("\n\n"))) > MOST_TOKENS - 400
    # Headers in a row go with what follows them.
    runs = [len(list(run)) for block, run in groupby(text.split("\n\n")) if block == "# A header"]
    headers = max(runs, default=0) * count("# A header")
    if not blocks_larger_than_a_third:
        assert all(chunk.tokens >= 400 - headers for chunk in chunks[:-1])


@given(TEXT)
def test_a_header_never_ends_a_chunk_unless_nothing_follows_it(text: str) -> None:
    for chunk in paragraph_chunks(text, count, split)[:-1]:
        assert not chunk.text.splitlines()[-1].startswith("#")


def test_a_header_starts_a_chunk_once_the_one_before_is_large_enough() -> None:
    body = "word " * 450
    first, second = paragraph_chunks(f"# One\n{body}\n# Two\n{body}", count, split)
    assert first.text.startswith("# One")
    assert second.text.startswith("# Two")


def test_small_sections_share_a_chunk() -> None:
    text = "\n".join(f"# Section {n}\nA few words." for n in range(10))
    assert len(paragraph_chunks(text, count, split)) == 1


@pytest.mark.parametrize("unit", ["word " * 50 + ". ", "word\n\n", "a" * 5000 + " ", "# header\n"])
def test_a_long_text_gets_larger_chunks_rather_than_more(unit: str) -> None:
    text = unit * (60_000 // max(1, count(unit)))
    chunks = paragraph_chunks(text, count, split)
    assert 15 < len(chunks) <= MOST_CHUNKS
    assert letters("".join(chunk.text for chunk in chunks)) == letters(text)


def test_a_blank_text_has_no_chunks() -> None:
    assert paragraph_chunks(" \n\n ", count, split) == []
