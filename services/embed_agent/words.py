"""Words, and parts of words that are too long, which no reader's language has and files do. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from services.embed_agent.domain import CountTokens

_WORD = re.compile(r"(\S+)(\s*)")
# Letters of a token. A word with more of them than tokens are allowed is cut without counting, which is slow for it.
_LONGEST_TOKEN = 20
# A character that is made of more signs than this is no character.
_LONGEST_CHARACTER = 32
_JOINER = "\u200d"


def joined(words: Sequence[str]) -> str:
    """The text of neighbouring words."""
    return "".join(words).rstrip()


def parts(text: str, count: CountTokens, most: int) -> Iterator[str]:
    """Words with the space behind them, or parts of words, of at most `most` tokens each.

    Larger only where one character is.
    """
    for word, gap in _WORD.findall(text):
        *first, last = cut_word(word, count, most)
        yield from first
        yield last + _short(gap)


def _short(gap: str) -> str:
    lines = gap.count("\n")
    return "\n" * min(lines, 2) or gap[:1]


def cut_word(word: str, count: CountTokens, most: int) -> Iterator[str]:
    """A word in halves of halves of at most `most` tokens, never inside a character that is made of several signs."""
    if len(word) <= most * _LONGEST_TOKEN and (len(word) < 2 or count(word) <= most):
        yield word
        return
    middle = _middle(word)
    if middle is None:
        yield word
        return
    yield from cut_word(word[:middle], count, most)
    yield from cut_word(word[middle:], count, most)


def _middle(word: str) -> int | None:
    """The place near the middle where characters meet; None when the word is one character."""
    middle = len(word) // 2
    for off in range(min(middle, _LONGEST_CHARACTER)):
        for at in (middle - off, middle + off):
            if 0 < at < len(word) and not _inside(word[at - 1], word[at]):
                return at
    return None if len(word) <= _LONGEST_CHARACTER else middle


def _inside(before: str, after: str) -> bool:
    """Whether two signs belong to one character: marks, joined emoji, skin tones, flags."""
    return (
        unicodedata.category(after).startswith("M")
        or _JOINER in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff")
    )
