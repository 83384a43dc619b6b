"""Signatures by which near-duplicates are found."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.signature import NUMBERS, alike, bands, signature

TEXT = "The river had fallen so low that the paddles of our undershot wheel barely touched the surface."


def of(text: str) -> list[int]:
    numbers = signature(text)
    assert numbers is not None
    return numbers


def pairs(text: str) -> set[tuple[str, str]]:
    words = text.split()
    return set(pairwise(words))


@pytest.mark.parametrize("text", [TEXT.upper(), TEXT.replace(" ", " \n\t"), f"«{TEXT}»!", TEXT.replace("fi", "ﬁ")])
def test_capitals_blanks_and_punctuation_make_no_difference(text: str) -> None:
    assert of(text) == of(TEXT)


def test_other_words_are_not_alike_and_share_no_band() -> None:
    other = "Bake the loaf for forty minutes in a hot oven until its crust is brown."
    assert alike(of(TEXT), of(other)) < 0.05
    assert not set(bands(of(TEXT))) & set(bands(of(other)))


@pytest.mark.parametrize("kept", [0.5, 0.7, 0.9])
def test_what_is_estimated_is_the_share_of_common_pairs(kept: float) -> None:
    chance = random.Random(7)  # noqa: S311 - which words are changed is no secret
    words = [f"word{number}" for number in range(400)]
    text = " ".join(words)
    changed = " ".join(word if chance.random() < kept else f"other{number}" for number, word in enumerate(words))
    jaccard = len(pairs(text) & pairs(changed)) / len(pairs(text) | pairs(changed))
    assert alike(of(text), of(changed)) == pytest.approx(jaccard, abs=0.11)  # three standard errors


def test_candidates_are_found_at_the_threshold() -> None:
    """Of 40 pairs of texts with a Jaccard similarity of about 0.4, 98 % share a band."""
    found = 0
    for number in range(40):
        common = [f"common{number}x{at}" for at in range(120)]
        one, other = ([f"{name}{number}x{at}" for at in range(90)] for name in ("one", "other"))
        found += bool(set(bands(of(" ".join(common + one)))) & set(bands(of(" ".join(common + other)))))
    assert found >= 37


@pytest.mark.parametrize("text", ["", "  \n", "!?", "\U0001f600"])
def test_a_text_without_words_has_none(text: str) -> None:
    assert signature(text) is None


def test_one_word_is_a_text() -> None:
    assert of("Hello!") == of("hello")
    assert of("hello") != of("goodbye")


def test_scripts_without_spaces_are_compared_by_their_signs() -> None:
    one, other = "今天天气很好我们去公园散步孩子们在湖边喂鸭子", "今天天气很好我们去公园散步老人们在树下下棋子"
    assert 0.3 < alike(of(one), of(other)) < 0.9


@given(st.text(max_size=400))
def test_numbers_and_bands_are_integers_of_postgresql(text: str) -> None:
    numbers = signature(text)
    if numbers is not None:
        assert len(numbers) == NUMBERS
        assert all(-(1 << 31) <= number < 1 << 31 for number in [*numbers, *bands(numbers)])
        assert len(bands(numbers)) == NUMBERS // 3
