"""Which passages a search by words looks at, and what each word is worth. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_CANDIDATES = 1_000
"""Passages that are ranked: some milliseconds."""
_MOST_TERMS = 16  # of a question; the rarest say what it is about
_SYNTAX = ("!", "<->", " | ")


@dataclass(frozen=True)
class Frequencies:
    """The most common words and the share of passages that have them, 0 to 1; and how many passages there are."""

    shares: Mapping[str, float]
    passages: int

    def of(self, word: str) -> float:
        """The share of passages that have a word; below that of all known ones for any other."""
        least = min(self.shares.values(), default=1 / max(self.passages, 2))
        return self.shares.get(word, least / 2)

    def expected(self, word: str) -> float:
        """About how many passages have a word."""
        return self.of(word) * self.passages


@dataclass(frozen=True)
class Wanted:
    """`query` chooses passages, at most so many; `weights` are its words, quoted for PostgreSQL, and their worth."""

    query: str
    weights: Mapping[str, float]
    most: int = MOST_CANDIDATES


def wanted(asked: str, lexemes: Sequence[str], common: Frequencies, *, any_word: bool) -> Wanted | None:
    """What to look for; None when the query has no word.

    :param asked: the query as PostgreSQL reads it (`websearch_to_tsquery`).
    :param lexemes: its words.
    :param any_word: passages with some of the words are good enough, as far as the query is nothing but words: then
        its rarest words choose, together no more than can be ranked.
    """
    if not asked or not lexemes:
        return None
    rarest = sorted(lexemes, key=lambda word: (common.of(word), word))[:_MOST_TERMS]
    # The formula of BM25's weight of a word (Robertson, Zaragoza 2009), by shares of passages instead of numbers.
    weights = {quoted(word): math.log(1 + 1 / common.of(word)) for word in rarest}
    if not any_word or any(sign in asked for sign in _SYNTAX):
        return Wanted(asked, weights)
    chosen: list[str] = []
    expected = 0.0
    for word in rarest:
        expected += common.expected(word)
        if chosen and expected > MOST_CANDIDATES:
            break
        chosen.append(word)
    if common.expected(chosen[0]) > MOST_CANDIDATES:
        # Common words alone: those that stand together.
        return Wanted(" & ".join(weights), weights)
    return Wanted(" | ".join(map(quoted, chosen)), weights)


def quoted(word: str) -> str:
    """A word as a query of PostgreSQL's full text search."""
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"
