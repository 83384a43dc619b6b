"""Shares about the same, found by their vectors: average-linkage clustering. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Shape (shares, dimensions)."""

LEAST_LIKENESS: Final = 0.15
"""Mean cosine of a topic's shares to one another, beyond what any two shares have: 0 is that, 1 the same.

On benchmarks/judged lower ones put topics together and higher ones take them apart (docs/intelligence.md).
"""
FEWEST: Final = 20
"""Shares that say how near any two of them are."""
_MOST_SAMPLED: Final = 500
_HIGHEST_BACKGROUND: Final = 0.8  # an owner whose shares all say the same still has one topic


def normalised(vectors: Vectors) -> Vectors:
    """Of length 1; one without a direction, or with what is no number, stays without, and is near to nothing."""
    finite = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0)
    lengths = np.linalg.norm(finite, axis=1, keepdims=True)
    return np.asarray(np.divide(finite, lengths, out=np.zeros_like(finite), where=lengths > 0), dtype=np.float32)


def background(vectors: Vectors) -> float:
    """Median cosine of any two shares, 0 to 0.8: models differ in it; 0 where there are too few to say.

    :param vectors: normalised.
    """
    sample = vectors[:: -(-len(vectors) // _MOST_SAMPLED) or 1]
    if len(sample) < FEWEST:
        return 0.0
    cosines = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    return float(np.clip(np.median(cosines), 0.0, _HIGHEST_BACKGROUND))


def clusters(vectors: Vectors, *, usual: float, least: float = LEAST_LIKENESS) -> list[list[int]]:
    """Indices of shares that belong together, largest cluster first, each with its most central share first.

    Two clusters become one while the mean cosine between their members is high enough (UPGMA, found by chains of
    nearest neighbours in time by the square of the number: Müllner, https://arxiv.org/abs/1109.2378).

    :param vectors: normalised.
    :param usual: the cosine of shares that have nothing to do with one another (`background`).
    """
    likeness = vectors @ vectors.T
    symmetric = np.asarray((likeness + likeness.T) / 2, dtype=np.float32)
    members = _linked(symmetric, usual + least * (1 - usual))
    return [central_first(vectors, found) for found in sorted(members, key=lambda one: (-len(one), one[0]))]


def central_first(vectors: Vectors, members: list[int]) -> list[int]:
    """Members of a cluster, nearest to their mean first."""
    nearness = centrality(vectors, members)
    return [members[at] for at in np.argsort(-nearness, kind="stable")]


def centrality(vectors: Vectors, members: list[int]) -> NDArray[np.float32]:
    """Cosine of each member to the mean of all."""
    middle = normalised(vectors[members].mean(axis=0, keepdims=True))[0]
    return np.asarray(vectors[members] @ middle, dtype=np.float32)


def _linked(likeness: NDArray[np.float32], least: float) -> list[list[int]]:
    """Average linkage over a matrix that is used up; as it is symmetric to the last bit, chains go no circle."""
    members = [[at] for at in range(len(likeness))]
    sizes = np.ones(len(likeness), dtype=np.float32)
    np.fill_diagonal(likeness, -np.inf)
    open_, done, chain = set(range(len(likeness))), list[list[int]](), list[int]()
    while open_:
        if not chain:
            chain.append(min(open_))
        last = chain[-1]
        if last not in open_:  # a mean was rounded up, and it was merged further up the chain
            chain.pop()
            continue
        nearest = int(np.argmax(likeness[last]))
        if likeness[last, nearest] < least:
            # Nothing is near to it, nor will be: a mean of what is too low is too low.
            done.append(members[last])
            _close(likeness, last)  # also where a mean is rounded up to the threshold
            open_.discard(last)
            chain.pop()
        elif len(chain) > 1 and nearest == chain[-2]:
            del chain[-2:]
            _merge(likeness, sizes, into=nearest, gone=last)
            members[nearest] += members[last]
            open_.discard(last)
        else:
            chain.append(nearest)
    return [sorted(found) for found in done]


def _merge(likeness: NDArray[np.float32], sizes: NDArray[np.float32], *, into: int, gone: int) -> None:
    total = sizes[into] + sizes[gone]
    merged = (likeness[into] * sizes[into] + likeness[gone] * sizes[gone]) / total
    merged[into] = -np.inf
    likeness[into], likeness[:, into] = merged, merged
    sizes[into] = total
    _close(likeness, gone)


def _close(likeness: NDArray[np.float32], at: int) -> None:
    likeness[at], likeness[:, at] = -np.inf, -np.inf
