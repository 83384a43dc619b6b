"""Several rankings made one, and passages cut to what a reader needs: pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from millrace.contracts.search_api import MatchedBy

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

RRF_K = 60
"""Constant of reciprocal rank fusion (Cormack, Clarke, Büttcher: SIGIR 2009)."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Fused(Generic[K]):
    """One result with its score (sum of 1 / (60 + rank)) and the rankings it was found in."""

    key: K
    score: float
    matched_by: list[MatchedBy]


def fuse(rankings: Mapping[MatchedBy, Sequence[K]], *, k: int = RRF_K) -> list[Fused[K]]:
    """Reciprocal rank fusion, best first; ties keep the order of the first ranking that has them.

    :param rankings: keys, best first; a key that a ranking repeats counts at its best rank.
    """
    scores: dict[K, float] = {}
    found: dict[K, list[MatchedBy]] = {}
    for name, ranking in rankings.items():
        for rank, key in enumerate(dict.fromkeys(ranking), start=1):
            scores[key] = scores.get(key, 0.0) + 1 / (k + rank)
            found.setdefault(key, []).append(name)
    return [Fused(key, scores[key], found[key]) for key in sorted(scores, key=lambda key: -scores[key])]


def interleaved(rankings: Sequence[Sequence[T]], key: Callable[[T], Hashable]) -> list[T]:
    """One ranking of several that cannot be compared, such as of different models: all first ones, all second ones.

    :param key: what makes two results the same: the better placed one stays.
    """
    places = [(place, number, one) for number, ranking in enumerate(rankings) for place, one in enumerate(ranking)]
    best: dict[Hashable, T] = {}
    for _, _, one in sorted(places, key=lambda found: found[:2]):
        best.setdefault(key(one), one)
    return list(best.values())


def snippet(text: str, query: str, *, longest: int = 320) -> str:
    """At most about `longest` characters of the text, around the first word of the query, cut between words."""
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    words = {word.casefold() for word in _WORD.findall(query)}
    first = next((m.start() for m in _WORD.finditer(text) if m.group().casefold() in words), 0)
    start = max(0, min(first - longest // 4, len(text) - longest))
    if start:
        start = text.find(" ", start) + 1
    end = len(text) if start + longest >= len(text) else text.rfind(" ", start, start + longest)
    end = end if end > start else start + longest
    return ("… " if start else "") + text[start:end] + (" …" if end < len(text) else "")


def highlights(text: str, query: str) -> list[tuple[int, int]]:
    """Where words of the query stand in a text: start and end in characters, in order."""
    words = {word.casefold() for word in _WORD.findall(query)}
    return [match.span() for match in _WORD.finditer(text) if match.group().casefold() in words]
