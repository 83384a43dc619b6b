"""How well a text is broken behind a word: best at the end of a sentence, then at a pause, a clause, a word. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from millrace.transcripts.tokens import PER_COLUMN_MS, Token
from millrace.transcripts.units import width

_OPENING: Final = "([{\u2018\u201c\u00ab\u300c\u300e\uff08"
_CLOSING: Final = "\"')]}\u2019\u201d\u00bb\u300d\u300f\uff09"
_SENTENCE_ENDS: Final = (".", "!", "?", "\u2026", "\u3002", "\uff01", "\uff1f", "\u061f", "\u0964")
_CLAUSE_ENDS: Final = (",", ";", ":", "\u2013", "\u2014", "\u3001", "\uff0c", "\uff1b", "\uff1a", "\u060c")
_NEVER_ENDS: Final = frozenset({"mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "vs.", "e.g.", "i.e.", "no."})
_PAUSE_MS: Final = 300
_LONG_PAUSE_MS: Final = 700
_SLOW_WORD_MS: Final = 400
_JOINS_SENTENCES: Final = 14.0
"""A little more than another cue costs: two sentences share one only where each would be short."""
_PER_WAITING_MS: Final = 0.03
_MOST_WAITING: Final = 60.0


@dataclass(frozen=True, slots=True)
class Break:
    """What it costs to end a cue here, to end a line here, and to go on here within a cue."""

    cue: float
    line: float
    within: float


def after(token: Token, following: Token | None) -> Break:
    """The break behind a token; the end of the transcript costs nothing."""
    if following is None:
        return Break(0, 0, 0)
    pause_ms = following.start_ms - token.end_ms + _held_ms(following)
    # A cue that shows what is said a second later gives it away.
    waits = min(_MOST_WAITING, pause_ms * _PER_WAITING_MS) if pause_ms >= _PAUSE_MS else 0.0
    if following.joint == "cut":
        return Break(200, 200, waits)
    if ends_sentence(token, following):
        return Break(0, 0, max(_JOINS_SENTENCES, waits))
    if pause_ms >= _LONG_PAUSE_MS or following.opens:
        return Break(4, 4, max(_JOINS_SENTENCES, waits))
    if pause_ms >= _PAUSE_MS or _ends_clause(token, following):
        return Break(12, 4, waits)
    # Between characters of a script without blanks there may be a word of several.
    return Break(30, 12, waits) if following.joint == "space" else Break(45, 16, waits)


def _held_ms(token: Token) -> int:
    """How much longer a word lasts than it takes to say it: Whisper begins a word where the one before has ended."""
    if not token.timed:
        return 0
    return max(0, token.end_ms - token.start_ms - _SLOW_WORD_MS - PER_COLUMN_MS * width(token.text))


def _ends_clause(token: Token, following: Token) -> bool:
    bracketed = token.text.endswith(tuple(_CLOSING)) or following.text.startswith(tuple(_OPENING))
    return bracketed or token.text.endswith(_CLAUSE_ENDS)


def ends_sentence(token: Token, following: Token | None) -> bool:
    """Whether a sentence ends with a token, which titles and what goes on in lower case do not show."""
    text = token.text.rstrip(_CLOSING)
    if not text.endswith(_SENTENCE_ENDS) or text.lower() in _NEVER_ENDS:
        return False
    return following is None or following.joint == "none" or not following.text[0].islower()
