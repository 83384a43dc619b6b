from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.api_gateway.ranking import fuse, highlights, interleaved, snippet


def test_rankings_that_cannot_be_compared_take_turns() -> None:
    assert interleaved([["a1", "a2", "a3"], ["b1"], []], key=str) == ["a1", "b1", "a2", "a3"]
    assert interleaved([["x", "same"], ["same", "y"]], key=str) == ["x", "same", "y"]
    assert interleaved([], key=str) == []


KEYS = st.lists(st.integers(0, 20), unique=True, max_size=15)


def test_what_both_rankings_find_comes_before_what_one_finds_first() -> None:
    fused = fuse({"semantic": ["a", "b"], "keyword": ["c", "b"]})
    assert [(f.key, f.matched_by) for f in fused] == [
        ("b", ["semantic", "keyword"]),
        ("a", ["semantic"]),
        ("c", ["keyword"]),
    ]
    assert fused[0].score == 2 / 62


@given(KEYS, KEYS)
def test_fusion_loses_nothing_repeats_nothing_and_is_sorted(semantic: list[int], keyword: list[int]) -> None:
    fused = fuse({"semantic": semantic, "keyword": keyword})
    keys = [f.key for f in fused]
    assert sorted(keys) == sorted({*semantic, *keyword})
    assert [f.score for f in fused] == sorted((f.score for f in fused), reverse=True)


@given(KEYS)
def test_one_ranking_keeps_its_order(ranking: list[int]) -> None:
    assert [f.key for f in fuse({"keyword": ranking})] == ranking


def test_a_repeated_key_counts_once() -> None:
    assert fuse({"keyword": ["a", "a", "b"]}) == fuse({"keyword": ["a", "b"]})


def test_a_snippet_is_cut_around_the_words_that_were_looked_for() -> None:
    text = "nothing here " * 100 + "ask not what your country can do for you " + "and more " * 100
    cut = snippet(text, "Country")
    assert "your country can do" in cut
    assert cut.startswith("… ")
    assert cut.endswith(" …")
    assert len(cut) <= 330


@given(st.text(max_size=2000), st.text(max_size=50))
def test_a_snippet_is_short_whatever_the_text(text: str, query: str) -> None:
    assert len(snippet(text, query)) <= 330


def test_words_of_the_query_are_lit_whole() -> None:
    text = "The mill's wheel: a WHEEL of the millers"
    assert [text[start:end] for start, end in highlights(text, "wheel mill?")] == ["mill", "wheel", "WHEEL"]
    assert highlights(text, "") == []
