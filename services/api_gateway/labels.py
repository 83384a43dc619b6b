"""What a topic is called: the words that its shares have and others have not. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from millrace.text import is_unspaced, tokens

MOST_TERMS: Final = 60
"""Of a topic before words that say nothing are taken away."""
_IN_LABEL: Final = 3
_SHORTEST, _LONGEST = 3, 40
_NAMED: Final = 2  # a word of a title or a tag counts as two of a text


@dataclass(frozen=True)
class Words:
    """What a share says of itself: in `named` its title and tags, in `said` its summary and how its text begins."""

    named: str
    said: str


def terms(topics: Sequence[Sequence[Words]], others: Sequence[Words]) -> list[list[str]]:
    """The most distinctive words of each topic, best first, as they are mostly written.

    Class-based TF-IDF (Grootendorst, https://arxiv.org/abs/2203.05794), over the shares that have a word rather than
    how often they have it: one long share does not name a topic.

    :param others: shares in no topic; together they are one more.
    """
    forms: dict[str, Counter[str]] = {}
    classes = [_counted(shares, forms) for shares in (*topics, others)]
    everywhere: Counter[str] = Counter()
    for counts in classes:
        everywhere.update(counts)
    mean = everywhere.total() / max(1, len(classes))
    return [
        _best(counts, len(shares), everywhere, mean, forms) for counts, shares in zip(classes, topics, strict=False)
    ]


def label(ranked: Sequence[str], stop_words: AbstractSet[str]) -> str:
    """The first three of a topic's terms that say something; empty where none does.

    :param stop_words: in lower case.
    """
    chosen: list[str] = []
    for term in ranked:
        if term.casefold() not in stop_words and not any(_same(term, other) for other in chosen):
            chosen.append(term)
        if len(chosen) == _IN_LABEL:
            break
    return ", ".join(chosen)


def _counted(shares: Sequence[Words], forms: dict[str, Counter[str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for share in shares:
        named, said = set[str](), set[str]()
        for into, text in ((named, share.named), (said, share.said)):
            for word in _candidates(text):
                into.add(word.casefold())
                forms.setdefault(word.casefold(), Counter())[word] += 1
        counts.update(dict.fromkeys(said - named, 1))
        counts.update(dict.fromkeys(named, _NAMED))
    return counts


def _candidates(text: str) -> Iterable[str]:
    """Words that can stand in a label; of scripts without spaces two signs in a row."""
    before = ""
    for word in tokens(text):
        if is_unspaced(word):
            if before:
                yield before + word
            before = word
            continue
        before = ""
        if _SHORTEST <= len(word) <= _LONGEST and not word.isdigit():
            yield word


def _best(
    counts: Counter[str], shares: int, everywhere: Counter[str], mean: float, forms: dict[str, Counter[str]]
) -> list[str]:
    # What a single one of several shares says is hardly what they are about: such words come last.
    worth = {
        word: (shares == 1 or count > _NAMED, count * math.log1p(mean / everywhere[word]))
        for word, count in counts.items()
    }
    best = sorted(sorted(worth), key=worth.__getitem__, reverse=True)[:MOST_TERMS]
    return [max(sorted(forms[word]), key=forms[word].__getitem__) for word in best]


def _same(one: str, other: str) -> bool:
    """Whether two words are forms of one, roughly: mill and mills."""
    short, long = sorted((one.casefold(), other.casefold()), key=len)
    return long.startswith(short) and len(long) - len(short) <= 3
