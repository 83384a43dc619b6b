"""Summaries without a language model: the most central sentences of the text, in its own order.

LexRank (Erkan and Radev 2004, https://doi.org/10.1613/jair.1523) in its continuous form, over sentence vectors rather
than word counts: a sentence matters when it is near to many that matter.
"""

from __future__ import annotations

import asyncio
import re
import time
from decimal import Decimal

import numpy as np
import sentencex
import yake
from numpy.typing import NDArray

from millrace.models.port import EmbeddingModel, Use
from millrace.models.tariffs import PerSecond
from millrace.money import MicroUSD
from millrace.stream.stage import Paid
from millrace.text import count_words
from services.summarize_agent.domain import Answer, Backend, Summary

_DAMPING = 0.85  # as in PageRank: the rest is the chance to start anew at any sentence
_ROUNDS = 50
_MOST_SENTENCES = 2000  # centrality needs the square of it in memory
_FEWEST_WORDS = 4
_IN_SUMMARY, _KEY_POINTS, _TAGS = 3, 5, 8
_TOO_ALIKE = 0.9
_KEYWORD_TEXT = 50_000  # characters that keywords are looked for in: it takes a second


class ExtractiveSummarizer:
    """Chooses sentences and keywords on this machine; implements `Summarizer`.

    :param model: gives the vectors of sentences.
    """

    backend: Backend = "extractive"
    version = 1
    tries = 1

    def __init__(self, model: EmbeddingModel, price_per_second: Decimal) -> None:
        self._embedding = model
        self._tariff = PerSecond(price_per_second)
        self.model = f"lexrank-{model.name}"

    def most(self, text: str) -> MicroUSD:
        """A second, and one more for every 1000 words; usually it takes far less."""
        return self._tariff.most(count_words(text))

    async def summarize(self, text: str, language: str | None) -> Paid[Answer]:
        """Choose sentences, in a thread."""
        started = time.perf_counter()
        summary = await self._summary(text, (language or "en").partition("-")[0].lower())
        use = Use(seconds=time.perf_counter() - started)
        return Paid(Answer(summary=summary), self._tariff.cost(use))

    async def _summary(self, text: str, language: str) -> Summary:
        sentences = await asyncio.to_thread(_sentences, text, language)
        embedded = await self._embedding.embed(sentences)
        chosen = await asyncio.to_thread(central, np.array(embedded.vectors, dtype=np.float32), _KEY_POINTS)
        points = [sentences[at] for at in sorted(chosen)]
        return Summary(
            summary=" ".join(sentences[at] for at in sorted(chosen[:_IN_SUMMARY])),
            key_points=points if len(points) > _IN_SUMMARY else [],
            tags=await asyncio.to_thread(_keywords, text, language),
        )


def _sentences(text: str, language: str) -> list[str]:
    """Sentences that can stand alone, at most 2000 from all over the text; the text itself when there is none."""
    # A markdown header is no sentence, nor is its mark a part of the next one.
    plain = re.sub(r"^ {0,3}#{1,6} .*$", "", text, flags=re.MULTILINE)
    found = (" ".join(sentence.split()) for sentence in sentencex.segment(language, plain))
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
