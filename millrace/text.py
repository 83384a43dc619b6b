"""What kind of text this is. Pure, and shared by the stages that read text."""

from __future__ import annotations

import re
import unicodedata

# Scripts that are written without spaces: counted by character, two to a word.
_UNSPACED_SIGNS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED = re.compile(rf"[{_UNSPACED_SIGNS}]")
_TOKEN = re.compile(rf"[{_UNSPACED_SIGNS}]|[^\W{_UNSPACED_SIGNS}]+")
_WORD = re.compile(r"\w+(?:['\u2019\-]\w+)*")
_PLAIN_CONTROLS = frozenset("\t\n\r\f\u0085")
_MOST_ODD = 0.05


def count_words(text: str) -> int:
    """Number of words, roughly, in any script."""
    unspaced = len(_UNSPACED.findall(text))
    return len(_WORD.findall(_UNSPACED.sub(" ", text))) + (unspaced + 1) // 2


def tokens(text: str) -> list[str]:
    """Words in order; of scripts that are written without spaces each sign.

    >>> tokens("Don't stop, 东京!")
    ['Don', 't', 'stop', '东', '京']
    """
    return _TOKEN.findall(text)


def is_unspaced(sign: str) -> bool:
    """Whether a sign belongs to a script that is written without spaces."""
    return _UNSPACED.fullmatch(sign) is not None


def storable(text: str, longest: int = 1000) -> str:
    """A text in characters that PostgreSQL and Kafka take, at most so many: errors repeat what others have said."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:longest]


def has_nul(text: str) -> bool:
    """Whether no row of PostgreSQL can have this text, which would call a query with it broken."""
    return "\0" in text


def looks_binary(text: str) -> bool:
    """Whether this was never meant to be read: it has a NUL, or more than 5 % control and undecodable characters."""
    if has_nul(text):
        return True
    odd = sum(1 for c in text if c == "\ufffd" or (unicodedata.category(c) == "Cc" and c not in _PLAIN_CONTROLS))
    return odd > _MOST_ODD * len(text)
