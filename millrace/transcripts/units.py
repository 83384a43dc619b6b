"""Where text may be broken, and how wide it is, in any script. Pure.

Scripts that are written without spaces may be broken between characters, but no line begins with what closes or ends
with what opens (Japanese calls it kinsoku; Unicode Standard Annex 14 has the whole of it).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import Final

# Thai to Lao, Myanmar, Khmer; CJK punctuation to kana; ideographs; full and half width forms; the rarer ideographs.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
    "\U00020000-\U0003fffd]"
)
_NEVER_FIRST: Final = frozenset(
    ".,;:!?)]}%\u2026\u2019\u201d\u00bb"
    "\u3001\u3002\uff0c\uff0e\uff1a\uff1b\uff01\uff1f\uff09\uff3d\uff5d\u3009\u300b\u300d\u300f\u3011\u3015\u301c\uff05"
    "\u30fb\u30fc\u3005\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087\u308e\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3"
    "\u30e3\u30e5\u30e7\u30ee\u30f5\u30f6"
    "\u0e2f\u0e30\u0e32\u0e33\u0e45\u0e46"
)
"""Closing marks, small kana and the mark of long vowels, vowels that Thai writes behind their consonant."""
_NEVER_LAST: Final = frozenset(
    "([{\u2018\u201c\u00ab\u3008\u300a\u300c\u300e\u3010\u3014\uff08\uff3b\uff5b$\u00a3\uffe5\u0e40\u0e41\u0e42\u0e43\u0e44"
)
"""Opening marks, signs of currencies, vowels that Thai writes before their consonant."""
_JOINER: Final = "\u200d"


def is_unspaced(char: str) -> bool:
    """Whether a character is of a script that is written without spaces, or of its punctuation."""
    return _UNSPACED.match(char) is not None


@lru_cache(maxsize=4096)
def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def width(text: str) -> int:
    """Columns that a text takes: an ideograph takes two, a combining mark none.

    >>> width("na\u00efve"), width("\u4f60\u597d")
    (5, 4)
    """
    return sum(map(_columns, text))


def pieces(word: str, columns: int) -> list[list[str]]:
    """What a word without blanks may be broken into, each at most so many columns wide.

    Each inner list is a piece; it has more than one part only where even the piece is wider than a line and has to be
    cut somewhere.

    >>> pieces("ask", 42), pieces("\u4f60\u597d\u3002", 42), pieces("abcde", 2)
    ([['ask']], [['\u4f60'], ['\u597d\u3002']], [['ab', 'cd', 'e']])
    """
    found: list[str] = []
    for char in word:
        if found and not _may_break(found[-1][-1], char):
            found[-1] += char
        else:
            found.append(char)
    return [[piece] if width(piece) <= columns else _cut(piece, columns) for piece in found]


def _may_break(before: str, after: str) -> bool:
    if _clings(before, after) or after in _NEVER_FIRST or before in _NEVER_LAST:
        return False
    return is_unspaced(before) or is_unspaced(after)


def _clings(before: str, after: str) -> bool:
    """Whether two characters are seen as one: a letter and its mark, an emoji and its parts."""
    return before == _JOINER or _columns(after) == 0 or unicodedata.category(after) == "Mc"


def _cut(piece: str, columns: int) -> list[str]:
    parts, used = [piece[0]], _columns(piece[0])
    for before, char in pairwise(piece):
        used += _columns(char)
        if used > columns and not _clings(before, char):
            parts.append(char)
            used = _columns(char)
        else:
            parts[-1] += char
    return parts
