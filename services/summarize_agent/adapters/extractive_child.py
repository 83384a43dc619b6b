"""Summaries without a language model, inside a child process: a text's most central sentences, in its order.

LexRank (Erkan and Radev 2004, https://doi.org/10.1613/jair.1523) in its continuous form, over sentence vectors rather
than word counts: a sentence matters when it is near to many that matter.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import numpy as np
import yake
from numpy.typing import NDArray
from pydantic import JsonValue

from millrace.models.child.program import Answer, Tell, Work
from millrace.models.wordllama import WordLlamaModel
from millrace.sentences import split_sentences
from millrace.text import count_words
from services.summarize_agent.adapters.extractive import Chosen, Text
from services.summarize_agent.domain import Summary

_DAMPING = 0.85  # as in PageRank: the rest is the chance to start anew at any sentence
_ROUNDS = 50
_MOST_SENTENCES = 2000  # centrality needs the square of it in memory
_FEWEST_WORDS = 4
_IN_SUMMARY, _KEY_POINTS, _TAGS = 3, 5, 8
_TOO_ALIKE = 0.9
_KEYWORD_TEXT = 50_000  # characters that keywords are looked for in: it takes a second


def load(_: Mapping[str, JsonValue]) -> Work:
    """Answers `Text` with `Chosen`."""
    model = WordLlamaModel()

    def work(question: bytes, _: bytes, __: Tell) -> Answer:
        asked = Text.model_validate_json(question)
        started = time.perf_counter()
        summary = summarize(asked.text, asked.language, model)
        return Chosen(summary=summary, seconds=time.perf_counter() - started), b""

    return work


def summarize(text: str, language: str, model: WordLlamaModel) -> Summary:
    """Sentences and keywords of a text; `model` gives the vectors of its sentences."""
    sentences = _sentences(text, language)
    vectors = model.embed_now(sentences).vectors
    chosen = central(np.array(vectors, dtype=np.float32), _KEY_POINTS)
    points = [sentences[at] for at in sorted(chosen)]
    return Summary(
        summary=" ".join(sentences[at] for at in sorted(chosen[:_IN_SUMMARY])),
        key_points=points if len(points) > _IN_SUMMARY else [],
        tags=_keywords(text, language),
    )


def _sentences(text: str, language: str) -> list[str]:
    """Sentences that can stand alone, at most 2000 from all over the text; the text itself when there is none."""
    # A markdown header is no sentence, nor is its mark a part of the next one.
    plain = re.sub(r"^ {0,3}#{1,6} .*$", "", text, flags=re.MULTILINE)
    found = (" ".join(sentence.split()) for sentence in split_sentences(plain, language))
    sentences = [sentence for sentence in found if count_words(sentence) >= _FEWEST_WORDS]
    step = -(-len(sentences) // _MOST_SENTENCES) or 1
    return sentences[::step] or [" ".join(text.split())]


def central(vectors: NDArray[np.float32], most: int) -> list[int]:
    """Indices of the most central of some vectors, best first, leaving out those that say the same again.

    :param vectors: shape (sentences, dimensions), each of length 1.
    :param most: how many at most; of a few sentences a third, so that a summary is shorter than its text.
    """
    likeness = np.clip(vectors @ vectors.T, 0, None)
    # Every row has at least the sentence itself, so no sum is 0.
    steps = likeness / likeness.sum(axis=1, keepdims=True)
    rank = np.full(len(vectors), 1 / len(vectors), dtype=np.float32)
    for _ in range(_ROUNDS):
        rank = (1 - _DAMPING) / len(vectors) + _DAMPING * (rank @ steps)
    chosen: list[int] = []
    for at in np.argsort(-rank, kind="stable"):
        if len(chosen) == min(most, -(-len(vectors) // 3)):
            break
        if not chosen or likeness[at, chosen].max() < _TOO_ALIKE:
            chosen.append(int(at))
    return chosen


def _keywords(text: str, language: str) -> list[str]:
    found = yake.KeywordExtractor(lan=language, n=2, dedup_lim=0.7, top=_TAGS).extract_keywords(text[:_KEYWORD_TEXT])
    return [keyword.lower() for keyword, _ in found]
