from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.sentences import split_sentences


@given(
    st.lists(
        st.sampled_from(["The wheel turns. ", "Dr. Mill said no! ", "水车在转。", "x" * 2500, "x" * 12_500, "\n\n"])
    ).map("".join)
)
def test_joined_they_are_the_text_again(text: str) -> None:
    assert "".join(split_sentences(text)) == text


@given(st.integers(1, 300))
def test_a_sentence_is_not_cut_where_a_stretch_ends(number: int) -> None:
    sentences = [f"Sentence {'long ' * number}number {one} ends here. " for one in range(20)]
    assert split_sentences("".join(sentences)) == sentences


@pytest.mark.timeout(30)
def test_two_megabytes_without_spaces_take_no_time_worth_mentioning() -> None:
    assert len(split_sentences("水车在转。" * 130_000)) == 130_000
