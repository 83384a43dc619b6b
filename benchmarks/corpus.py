"""Passages in any number for `benchmarks.search`: real sentences, recombined.

The sentences are those of the project's own documentation and stories. A passage is two to four of them, drawn at
random with a fixed seed; ten passages are one share. So words are as common as in real text, and no two passages are
equal; but every sentence stands in many passages, so that each has many near neighbours: harder for an index than
texts that differ more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from millrace.models.wordllama import WordLlamaModel
from millrace.sentences import split_sentences
from millrace.testing.media import ARTICLE

ROOT: Final = Path(__file__).parents[1]
PER_SHARE: Final = 10
_MARKUP = re.compile(r"[`|#*\[\]()<>]")
_FEWEST, _MOST = 6, 40  # words of a sentence
_AT_ONCE = 2_000

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Corpus:
    """Passages, and their vectors of length 1, shape (passages, dimensions)."""

    model: str
    texts: list[str]
    vectors: Vectors


def sentences() -> list[str]:
    """All sentences of the documentation, in order of the alphabet."""
    files = [
        ARTICLE,
        ROOT / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        ROOT / "benchmarks" / "the-mill.txt",
    ]
    return sorted({one for file in files for one in _sentences(file.read_text(encoding="utf-8"))})


def _sentences(text: str) -> Iterator[str]:
    for paragraph in _MARKUP.sub(" ", text).split("\n\n"):
        for sentence in split_sentences(" ".join(paragraph.split())):
            words = sentence.split()
            if _FEWEST <= len(words) <= _MOST:
                yield " ".join(words)


def passages(size: int) -> list[str]:
    """So many different passages."""
    chance, known = np.random.default_rng(7), sentences()
    found: dict[str, None] = {}
    while len(found) < size:
        for drawn, length in zip(
            chance.integers(len(known), size=(size, 4)), chance.integers(2, 5, size), strict=True
        ):
            found[" ".join(known[one] for one in drawn[:length])] = None
    return list(found)[:size]


def small(size: int, model: WordLlamaModel) -> Corpus:
    """With the bundled model's vectors."""
    texts = passages(size)
    parts = [
        np.asarray(model.embed_now(texts[at : at + _AT_ONCE]).vectors, dtype=np.float32)
        for at in range(0, size, _AT_ONCE)
    ]
    return Corpus(model.name, texts, np.concatenate(parts))


def large(corpus: Corpus, dimensions: int) -> Corpus:
    """With longer vectors, as an API's models have: the bundled model's turned into that space, and noise of a third.

    The angles between them stay nearly the same; no direction is empty.
    """
    chance = np.random.default_rng(11)
    turned = chance.standard_normal((corpus.vectors.shape[1], dimensions), dtype=np.float32) / np.sqrt(dimensions)
    parts = []
    for at in range(0, len(corpus.texts), _AT_ONCE):
        vectors = corpus.vectors[at : at + _AT_ONCE] @ turned
        noise = chance.standard_normal(vectors.shape, dtype=np.float32) / np.sqrt(dimensions) / 3
        parts.append(vectors + noise)
    vectors = np.concatenate(parts)
    return Corpus(f"turned-{dimensions}", corpus.texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def fragments(texts: list[str], number: int) -> list[str]:
    """Queries: three to eight words that follow each other in some passage."""
    chance, found = np.random.default_rng(5), []
    for drawn in chance.integers(len(texts), size=number):
        words, length = re.findall(r"\w+", texts[drawn]), int(chance.integers(3, 9))
        at = int(chance.integers(max(1, len(words) - length)))
        found.append(" ".join(words[at : at + length]))
    return found
