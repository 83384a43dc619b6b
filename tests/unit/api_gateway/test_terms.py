"""Which passages a search by words looks at, decided without PostgreSQL."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api_gateway.terms import MOST_CANDIDATES, Frequencies, quoted, wanted

# Of a hundred thousand passages.
COMMON = Frequencies({"the": 0.9, "how": 0.2, "mill": 0.002, "wheel": 0.003}, 100_000)


def query(*words: str, least_share: float = 0.0) -> str:
    found = wanted(" ".join(words), " & ".join(map(quoted, words)), words, COMMON, least_share=least_share)
    assert found is not None
    return found.query


def test_a_rare_word_is_worth_more_than_a_common_one() -> None:
    found = wanted("the mill sluice", "'the' & 'mill' & 'sluice'", ["the", "mill", "sluice"], COMMON, least_share=0.4)
    assert found is not None
    weights = list(found.weights.values())
    assert list(found.weights) == ["'sluice'", "'mill'", "'the'"]
    assert weights == sorted(weights, reverse=True)
    assert weights[1] == pytest.approx(math.log(1 + 1 / 0.002))
    assert found.least == pytest.approx(0.4 * sum(weights))


def test_the_rarest_words_choose_no_more_passages_than_can_be_ranked() -> None:
    assert query("the", "how", "mill", "wheel") == "'mill' | 'wheel'"
    assert query("the", "sluice") == "'sluice'"


def test_words_without_which_the_worth_cannot_be_reached_choose_alone() -> None:
    assert query("the", "mill", "wheel", least_share=0.5) == "'mill' | 'wheel'"
    assert query("the", "mill", "wheel", least_share=0.6) == "'mill'"


def test_common_words_alone_are_looked_for_together() -> None:
    found = wanted("the how", "'the' & 'how'", ["the", "how"], COMMON, least_share=0.4)
    assert found is not None
    assert (found.query, found.least, found.most) == ("'how' & 'the'", 0.0, MOST_CANDIDATES)


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ('"mill wheel"', "'mill' <-> 'wheel'"),
        ("mill -wheel", "'mill' & !'wheel'"),
        ("mill or wheel", "'mill' | 'wheel'"),
    ],
)
def test_who_says_more_than_words_gets_what_is_asked_for(typed: str, asked: str) -> None:
    found = wanted(typed, asked, ["mill", "wheel"], COMMON, least_share=0.4)
    assert found is not None
    assert (found.query, found.least) == (asked, 0.0)


def test_a_hyphen_is_no_syntax() -> None:
    asked = "'self-hosted' <-> 'self' <-> 'hosted' & 'server'"
    found = wanted("self-hosted server", asked, ["self-hosted", "self", "hosted", "server"], COMMON, least_share=0.0)
    assert found is not None
    assert found.query == "'hosted' | 'self' | 'self-hosted' | 'server'"


def test_a_word_that_nobody_counted_chooses_among_however_many_passages() -> None:
    many = Frequencies({"the": 0.9, "how": 0.002}, 10_000_000)
    found = wanted("how quokka", "'how' & 'quokka'", ["how", "quokka"], many, least_share=0.4)
    assert found is not None
    assert found.query == "'quokka'"


def test_a_query_without_words_is_none() -> None:
    assert wanted("-", "", [], COMMON, least_share=0.4) is None


def test_without_statistics_all_words_are_rare() -> None:
    found = wanted("a b", "'a' & 'b'", ["a", "b"], Frequencies({}, 0), least_share=0.0)
    assert found is not None
    assert found.query == "'a' | 'b'"
    assert all(math.isfinite(weight) for weight in found.weights.values())


def test_quotes_and_backslashes_stay_letters() -> None:
    assert quoted(r"it's a \ ") == r"'it''s a \\ '"


@given(
    st.lists(st.sampled_from([*COMMON.shares, "sluice", "weir", "race"]), min_size=1, unique=True), st.floats(0, 1)
)
def test_a_passage_with_enough_of_the_words_is_always_chosen(words: list[str], share: float) -> None:
    found = wanted(" ".join(words), " & ".join(map(quoted, words)), words, COMMON, least_share=share)
    assert found is not None
    if " | " in found.query or found.query in found.weights:
        chosen = set(found.query.split(" | "))
        expected = sum(COMMON.expected(word) for word in words)
        others = sum(weight for word, weight in found.weights.items() if word not in chosen)
        assert others < found.least or others == 0 or expected > MOST_CANDIDATES
