"""Clusters of shares by their vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.api_gateway.clusters import (
    FEWEST,
    Vectors,
    background,
    centrality,
    clusters,
    normalised,
)


def around(*directions: int, seed: int = 1, spread: float = 0.02) -> Vectors:
    """A vector near each of these axes."""
    noise = np.random.default_rng(seed).normal(scale=spread, size=(len(directions), 32))
    return normalised((np.eye(32)[list(directions)] + noise).astype(np.float32))


def test_what_is_near_is_together_the_largest_first() -> None:
    found = clusters(around(0, 1, 1, 2, 0, 1), usual=0.0)
    assert [sorted(members) for members in found] == [[1, 2, 5], [0, 4], [3]]


@pytest.mark.parametrize(("shares", "expected"), [(0, []), (1, [[0]])])
def test_few_are_no_problem(shares: int, expected: list[list[int]]) -> None:
    assert clusters(around(*range(shares)), usual=background(around(*range(shares)))) == expected


def test_the_same_share_again_and_again_is_one_topic() -> None:
    same = normalised(np.ones((FEWEST * 2, 8), dtype=np.float32))
    assert background(same) == pytest.approx(0.8)
    assert [len(members) for members in clusters(same, usual=background(same))] == [FEWEST * 2]


def test_what_a_model_has_in_common_for_all_does_not_count() -> None:
    """All vectors of some models are near one another: topics are what is nearer than that."""
    common = np.zeros((FEWEST * 2, 32), dtype=np.float32)
    common[:, 31] = 1.5
    vectors = normalised(around(*range(FEWEST), *range(FEWEST)) + common)
    assert len(clusters(vectors, usual=0.0)) == 1
    assert [len(members) for members in clusters(vectors, usual=background(vectors))] == [2] * FEWEST


def test_too_few_do_not_say_what_is_usual() -> None:
    assert background(normalised(np.ones((FEWEST - 1, 8), dtype=np.float32))) == 0


def test_the_most_central_is_first() -> None:
    vectors = normalised(np.array([[1, 0.9], [1, 0], [1, 0.4]], dtype=np.float32))
    (found,) = clusters(vectors, usual=0.0)
    assert found[0] == 2
    nearness = centrality(vectors, found)
    assert list(nearness) == sorted(nearness, reverse=True)


def test_a_vector_without_a_direction_is_alone() -> None:
    vectors = normalised(np.array([[0, 0], [np.nan, 1], [1, 0], [1, 0.1]], dtype=np.float32))
    assert sorted(sorted(members) for members in clusters(vectors, usual=0.0)) == [[0], [1], [2, 3]]


def test_the_threshold_is_a_part_of_what_is_above_the_usual() -> None:
    pair = normalised(np.array([[1, 0], [0.68, 0.7332]], dtype=np.float32))  # their cosine is 0.68
    assert len(clusters(pair, usual=0.6, least=0.15)) == 1
    assert len(clusters(pair, usual=0.6, least=0.25)) == 2
    assert len(clusters(pair, usual=0.7, least=0.15)) == 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=40), st.sampled_from([0.05, 0.5, 0.9]))
def test_each_share_is_in_one_cluster_however_many_are_as_near(rows: list[tuple[int, ...]], least: float) -> None:
    vectors = normalised(np.array(rows, dtype=np.float32).reshape(-1, 3))
    found = clusters(vectors, usual=0.0, least=least)
    assert sorted(at for members in found for at in members) == list(range(len(rows)))


def naive(vectors: Vectors, least: float) -> set[frozenset[int]]:
    """Average linkage as it is defined: the two nearest clusters become one, again and again."""
    likeness = vectors @ vectors.T
    found = [frozenset({at}) for at in range(len(vectors))]
    while len(found) > 1:
        mean, one, other = max(
            (float(np.mean([likeness[a, b] for a in one for b in other])), one, other)
            for at, one in enumerate(found)
            for other in found[:at]
        )
        if mean < least:
            break
        found = [members for members in found if members not in (one, other)] + [one | other]
    return set(found)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.sampled_from([0.05, 0.2, 0.5, 0.8]))
def test_chains_of_neighbours_find_what_the_definition_finds(seed: int, shares: int, least: float) -> None:
    vectors = normalised(np.random.default_rng(seed).normal(size=(shares, 4)).astype(np.float32))
    assert {frozenset(members) for members in clusters(vectors, usual=0.0, least=least)} == naive(vectors, least)
