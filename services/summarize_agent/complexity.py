"""How hard a text is to summarise, by a rule that is written down, so that the model can be chosen by it. Pure.

One point for each of these, looked for in up to 20,000 characters of the text:

- more than 8,000 tokens (of four bytes, whatever the model: the choice must not depend on itself), and one more for
  each doubling beyond that, up to 3;
- sentences of more than 25 words on average;
- more than 30 % of the words longer than 8 letters, as in texts of a trade;
- code between fences, or more than 10 % of the letters and digits are digits;
- more than 30 % of the letters are not Latin, which small models read worse.

A text with no point and at most 2,000 tokens is simple, one with 3 points or more is complex, others are between.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

from millrace.text import count_words

Complexity = Literal["simple", "between", "complex"]

_LOOKED_AT: Final = 20_000  # characters
_BYTES_A_TOKEN: Final = 4
_SIMPLE_TOKENS: Final = 2000
_MANY_TOKENS: Final = 8000
_MOST_FOR_LENGTH: Final = 3
_COMPLEX: Final = 3
_LONG_SENTENCE: Final = 25  # words
_LONG_WORD: Final = 8  # letters
_LONG_WORDS: Final = 0.3
_DIGITS: Final = 0.1
_OTHER_LETTERS: Final = 0.3
_LAST_LATIN: Final = "\u024f"
_SENTENCE_END: Final = re.compile(r"[.!?\u3002\uff01\uff1f]+|\n\s*\n")
_WORD: Final = re.compile(r"[^\W\d_]+")


def complexity_of(text: str) -> Complexity:
    """How hard it is."""
    tokens = len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN
    points = _length_points(tokens) + _points(text[:_LOOKED_AT])
    if points >= _COMPLEX:
        return "complex"
    return "simple" if points == 0 and tokens <= _SIMPLE_TOKENS else "between"


def _length_points(tokens: int) -> int:
    points = 0
    while tokens > _MANY_TOKENS and points < _MOST_FOR_LENGTH:
        points, tokens = points + 1, tokens // 2
    return points


def _points(text: str) -> int:
    words = _WORD.findall(text)
    if not words:
        return 0
    return sum(
        (
            _mean_sentence(text) > _LONG_SENTENCE,
            sum(len(word) > _LONG_WORD and word[0] <= _LAST_LATIN for word in words) > _LONG_WORDS * len(words),
            "```" in text or _share(text, str.isdigit) > _DIGITS,
            _share(text, _not_latin) > _OTHER_LETTERS,
        )
    )


def _mean_sentence(text: str) -> float:
    """Words of a sentence on average."""
    counts = [count for part in _SENTENCE_END.split(text) if (count := count_words(part))]
    return sum(counts) / max(len(counts), 1)


def _share(text: str, kind: Callable[[str], bool]) -> float:
    """Share of the letters and digits that are of a kind."""
    signs = [sign for sign in text if sign.isalnum()]
    return sum(kind(sign) for sign in signs) / max(len(signs), 1)


def _not_latin(sign: str) -> bool:
    return sign.isalpha() and sign > _LAST_LATIN
