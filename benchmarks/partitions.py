"""How well clusters agree with known topics. Pure.

Both are sequences of names, one for each document: the cluster it was put in, the topic it has.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence


def adjusted_rand(clusters: Sequence[Hashable], topics: Sequence[Hashable]) -> float:
    """Pairs of documents that both keep together, beyond chance: 0 is chance, 1 the same partition.

    Hubert, Arabie: Comparing partitions, 1985.
    """
    together = _pairs(Counter(zip(clusters, topics, strict=True)))
    one, other = _pairs(Counter(clusters)), _pairs(Counter(topics))
    expected = one * other / max(1, math.comb(len(topics), 2))
    most = (one + other) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def homogeneity(clusters: Sequence[Hashable], topics: Sequence[Hashable]) -> float:
    """Whether clusters have one topic each: 1 when all do. With the arguments exchanged it is completeness.

    Rosenberg, Hirschberg: V-Measure, 2007.
    """
    whole = _entropy(Counter(topics))
    if whole == 0:
        return 1.0
    return 1 - (_entropy(Counter(zip(clusters, topics, strict=True))) - _entropy(Counter(clusters))) / whole


def _pairs(counts: Mapping[object, int]) -> int:
    return sum(math.comb(count, 2) for count in counts.values())


def _entropy(counts: Mapping[object, int]) -> float:
    total = sum(counts.values())
    return -math.fsum(count / total * math.log(count / total) for count in counts.values())
