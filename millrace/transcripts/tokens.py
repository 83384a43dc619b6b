"""The words of a transcript with times that never go backwards, whatever a model has said about them. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Final, Literal

from millrace.contracts.events import Segment
from millrace.transcripts.units import is_unspaced, pieces, width

LAST_MS: Final = 99 * 3600 * 1000
"""Beyond it SubRip has no times; a model that names a later moment has lost count."""
_LONGEST_WORD_MS: Final = 2000
"""Models let the word before a pause last until the next one begins."""
PER_COLUMN_MS: Final = 80
"""What speech lasts: about 12 letters a second, which is fast."""

Joint = Literal["space", "none", "cut"]
"""What stands before a token: a blank; nothing, in a script without them; the rest of a word wider than a line."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is not broken any further, usually a word; times in milliseconds of the media.

    `opens`: it is the first of a segment; `timed`: a model has said when it was, no share of its segment's time.
    """

    text: str
    start_ms: int
    end_ms: int
    joint: Joint
    opens: bool = False
    timed: bool = False


def tokens_of(segments: Sequence[Segment], columns: int = 1_000_000) -> list[Token]:
    """All words of the segments in their order, none wider than so many columns.

    Starts never decrease, and no token ends after the next one starts. Times are those of the words where the
    segment's words say the same as its text, which may have more punctuation; else the segment's time is shared by
    length.
    """
    found: list[Token] = []
    for segment in segments:
        for at, token in enumerate(_of_segment(segment, columns)):
            start, joint = token.start_ms, token.joint
            if found:
                start = max(start, found[-1].start_ms)
                if not at and _is_ideographic(found[-1].text[-1]) and _is_ideographic(token.text[0]):
                    joint = "none"
            end = max(start, token.end_ms)
            found.append(replace(token, start_ms=start, end_ms=end, joint=joint, opens=not at))
    return list(_in_order(found))


def joined(tokens: Sequence[Token]) -> str:
    """Tokens as running text."""
    return "".join(
        f" {token.text}" if token.joint == "space" and at else token.text for at, token in enumerate(tokens)
    )


def cleaned(text: str) -> str:
    """A text without what steers a terminal or a player: controls that are no blanks, and what is no character."""
    return "".join(char if _is_plain(char) else "\N{REPLACEMENT CHARACTER}" for char in text)


def _is_plain(char: str) -> bool:
    if char.isspace():
        return True
    return unicodedata.category(char) not in ("Cc", "Cs") and not _is_noncharacter(ord(char))


def _is_noncharacter(code: int) -> bool:
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE  # Unicode 23.7


def _is_ideographic(char: str) -> bool:
    """Whether a character is of a script without any blanks; Thai has them between phrases."""
    return is_unspaced(char) and width(char) == 2


def _of_segment(segment: Segment, columns: int) -> list[Token]:
    text = segment.text if segment.text.strip() else " ".join(word.text for word in segment.words or [])
    texts: list[str] = []
    joints: list[Joint] = []
    for word in cleaned(text).split():
        before: Joint = "space"
        for piece in pieces(word, columns):
            for part in piece:
                texts.append(part)
                joints.append(before)
                before = "cut"
            before = "none"
    known = _times_of_words(segment, texts)
    times = known or _shares(texts, *_bounds(segment))
    return [
        Token(text, start, max(start, end), joint, timed=known is not None)
        for text, joint, (start, end) in zip(texts, joints, times, strict=True)
    ]


def _letters(text: str) -> str:
    """What two spellings of a word have in common."""
    return "".join(char.casefold() for char in text if char.isalnum())


def _times_of_words(segment: Segment, texts: Sequence[str]) -> list[tuple[int, int]] | None:
    """Times of the words that each text is part of; None where the words say something else than the texts."""
    words = segment.words or []
    letters = [_letters(word.text) for word in words]
    if not any(letters) or "".join(letters) != "".join(map(_letters, texts)):
        return None
    owner = [word for word, said in zip(words, letters, strict=True) for _ in said]
    earliest, latest = _bounds(segment)
    times, at, before = [], 0, earliest
    for text in texts:
        size = len(_letters(text))
        # A dash on its own is no word: it comes when the one before has ended.
        start, end = (owner[at].start_ms, owner[at + size - 1].end_ms) if size else (before, before)
        times.append((min(max(start, earliest), latest), min(max(end, earliest), latest)))
        at, before = at + size, times[-1][1]
    return times


def _shares(texts: Sequence[str], start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """A stretch of time, shared by texts in proportion to their widths."""
    edges = list(accumulate((max(1, width(text)) for text in texts), initial=0))
    times = (start_ms + (end_ms - start_ms) * edge // max(1, edges[-1]) for edge in edges)
    return list(pairwise(times))


def _bounds(segment: Segment) -> tuple[int, int]:
    start = min(max(segment.start_ms, 0), LAST_MS)
    return start, min(max(segment.end_ms, start), LAST_MS)


def _in_order(tokens: Sequence[Token]) -> Iterator[Token]:
    """Tokens that start together share their time, and none ends after the next has begun."""
    starts = [at for at, token in enumerate(tokens) if not at or token.start_ms > tokens[at - 1].start_ms]
    for begin, end in pairwise([*starts, len(tokens)]):
        run = tokens[begin:end]
        start, longest = run[0].start_ms, sum(PER_COLUMN_MS * width(token.text) for token in run)
        until = max(token.end_ms for token in run)
        if until == start:
            until = start + longest
        elif run[0].timed:
            until = min(until, start + longest + _LONGEST_WORD_MS)
        if end < len(tokens):
            until = min(until, tokens[end].start_ms)
        for token, (first, last) in zip(run, _shares([token.text for token in run], start, until), strict=True):
            yield replace(token, start_ms=first, end_ms=last)
