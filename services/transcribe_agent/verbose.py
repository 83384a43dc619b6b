"""What a transcription API answers: OpenAI's `verbose_json`, and what other servers make of it. Pure.

The answer has been paid for, so whatever can be used of it is used: only an answer without a text cannot be read.
Words and segments that have no times, or impossible ones, are left out, and the text stands without them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from millrace.contracts.events import Segment, Word
from services.transcribe_agent.domain import is_invented

_LONGEST: Final = 200_000
"""Characters of a text: twenty times what somebody says in ten minutes."""
_MOST_SECONDS: Final = 86_400


@dataclass(frozen=True)
class Said:
    """One segment: what was said, from when to when, and whether the model itself calls it a guess about silence."""

    text: str
    start_ms: int
    end_ms: int
    words: tuple[Word, ...] = ()
    invented: bool = False


@dataclass(frozen=True)
class VerboseAnswer:
    """An answer as far as it is used. `billed_ms`: what the provider says it bills; None when it says nothing."""

    text: str
    language: str | None
    segments: tuple[Said, ...]
    words: tuple[Word, ...]
    billed_ms: int | None


def read_answer(body: str) -> VerboseAnswer | None:
    """The answer in a response's body; None when there is no text in it, or one that nobody can have said."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    text = found.get("text") if isinstance(found, dict) else None
    if not isinstance(text, str) or len(text) > _LONGEST:
        return None
    language, usage = found.get("language"), found.get("usage")
    seconds = _seconds(usage.get("seconds")) if isinstance(usage, dict) else None
    segments = [said for one in _mappings(found.get("segments")) if (said := _said(one)) is not None]
    return VerboseAnswer(
        text=_clean(text),
        language=language if isinstance(language, str) else None,
        segments=tuple(sorted(segments, key=lambda one: one.start_ms)),
        words=_words(found.get("words")),
        billed_ms=None if seconds is None else round(seconds * 1000),
    )


def segments_of(answer: VerboseAnswer, length_ms: int) -> list[Segment]:
    """Segments with their words; without any, one of all words, or one of the whole text.

    :param length_ms: of the sound.
    """
    if not answer.segments:
        if not answer.text:
            return []
        words = answer.words
        start, end = (words[0].start_ms, words[-1].end_ms) if words else (0, length_ms)
        return [Segment(start_ms=start, end_ms=max(start, end), text=answer.text, words=list(words) or None)]
    return [
        Segment(start_ms=said.start_ms, end_ms=max(said.start_ms, said.end_ms), text=said.text, words=its_own)
        for said, its_own in zip(answer.segments, _shared_out(answer), strict=True)
        if said.text and not said.invented
    ]


def _shared_out(answer: VerboseAnswer) -> list[list[Word] | None]:
    """The words of each segment, those of invented ones, too; None where the answer has no words at all."""
    segments = answer.segments
    if any(one.words for one in segments):
        return [list(one.words) for one in segments]
    if not answer.words:
        return [None for _ in segments]
    shared: list[list[Word] | None] = [[] for _ in segments]
    at = 0
    for word in answer.words:
        while at + 1 < len(segments) and (word.start_ms + word.end_ms) / 2 >= segments[at + 1].start_ms:
            at += 1
        words = shared[at]
        if words is not None:
            words.append(word)
    return shared


def _said(one: Mapping[str, object]) -> Said | None:
    text, start, end = one.get("text"), _seconds(one.get("start")), _seconds(one.get("end"))
    if not isinstance(text, str) or start is None or end is None:
        return None
    silence, logprob = _number(one.get("no_speech_prob")), _number(one.get("avg_logprob"))
    return Said(
        text=_clean(text),
        start_ms=round(start * 1000),
        end_ms=round(end * 1000),
        words=_words(one.get("words")),
        invented=is_invented(no_speech_prob=silence or 0.0, avg_logprob=logprob or 0.0),
    )


def _words(value: object) -> tuple[Word, ...]:
    words = [word for one in _mappings(value) if (word := _word(one)) is not None]
    return tuple(sorted(words, key=lambda word: word.start_ms))


def _word(one: Mapping[str, object]) -> Word | None:
    text, start, end = one.get("word"), _seconds(one.get("start")), _seconds(one.get("end"))
    if not isinstance(text, str) or not _clean(text) or start is None or end is None:
        return None
    return Word(start_ms=round(start * 1000), end_ms=round(max(start, end) * 1000), text=_clean(text))


def _mappings(value: object) -> Sequence[Mapping[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _seconds(value: object) -> float | None:
    """A time; those a little before the beginning are the beginning."""
    seconds = _number(value)
    return None if seconds is None or abs(seconds) > _MOST_SECONDS else max(seconds, 0.0)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _clean(text: str) -> str:
    return text.replace("\0", "").strip()  # PostgreSQL keeps no NUL
