"""How well clusters agree with topics, beside figures of scikit-learn 1.9."""

from __future__ import annotations

import pytest

from benchmarks.insight import edits
from benchmarks.partitions import adjusted_rand, homogeneity
from millrace.signature import alike, signature


@pytest.mark.parametrize(
    ("clusters", "topics", "rand", "homogeneous", "complete"),
    [
        ("aabb", "xxyy", 1.0, 1.0, 1.0),
        ("aabb", "xyxy", -0.5, 0.0, 0.0),
        ("aabc", "xxyy", 0.5714286, 1.0, 0.6666667),
        ("aaaa", "xxyy", 0.0, 0.0, 1.0),
        ("aaabbb", "xxyyzz", 0.2424242, 0.4206198, 0.6666667),
        ("aaaa", "xxxx", 1.0, 1.0, 1.0),
    ],
)
def test_known_partitions(clusters: str, topics: str, rand: float, homogeneous: float, complete: float) -> None:
    assert adjusted_rand(clusters, topics) == pytest.approx(rand)
    assert homogeneity(clusters, topics) == pytest.approx(homogeneous)
    assert homogeneity(topics, clusters) == pytest.approx(complete)


def test_copies_are_edited_and_still_copies() -> None:
    texts = [
        "The wheel stands still. The river is low today. We wait for rain.",
        "Bake the loaf in a hot oven. Let it rest on a rack. Then eat it.",
    ]
    for name, made in edits(texts).items():
        for text, copy in zip(texts, made, strict=True):
            assert copy != text, name
            one, other = signature(text), signature(copy)
            assert one is not None
            assert other is not None
            assert alike(one, other) > 0.1, name
