"""Cuts a transcript into cues that can be read while they are shown. Pure.

The limits are those of broadcasters: Netflix's Timed Text Style Guides (two lines of 42 characters, 16 in Chinese; at
most 7 s; 20 characters a second for adults, 9 in Chinese) and the BBC's Subtitle Guidelines (one sentence a cue where
it can be; breaks at punctuation; gone 1.5 s after the speech). Netflix's shortest cue is 5/6 s; here it is a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from millrace.contracts.events import Segment
from millrace.transcripts.breaks import after
from millrace.transcripts.tokens import Token, joined, tokens_of
from millrace.transcripts.units import is_unspaced, width

LONGEST_MS: Final = 7000
SHORTEST_MS: Final = 1000
LINGER_MS: Final = 1500
"""How long a cue may stay when its words are over, so that it can be read to its end."""


@dataclass(frozen=True)
class Limits:
    """What is readable in a script; columns as in `width`."""

    columns: int
    columns_per_s: int

    def reading_ms(self, columns: int) -> int:
        """How long so much text has to be shown, rounded up."""
        return max(SHORTEST_MS, -(-columns * 1000 // self.columns_per_s))


SPACED: Final = Limits(columns=42, columns_per_s=20)
IDEOGRAPHIC: Final = Limits(columns=32, columns_per_s=18)
"""16 characters a line, 9 a second, of two columns each."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One or two lines, shown from `start_ms` until before `end_ms`."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def limits_of(segments: Sequence[Segment]) -> Limits:
    """The limits of the script that most of a transcript is written in."""
    letters = [char for segment in segments for char in segment.text if char.isalnum()]
    wide = sum(1 for char in letters if is_unspaced(char) and width(char) == 2)
    return IDEOGRAPHIC if 2 * wide > len(letters) else SPACED


def make_cues(segments: Sequence[Segment], limits: Limits | None = None) -> list[Cue]:
    """Cues with all words of the segments, each once and in order; they have length and do not overlap.

    No line is too wide and no cue longer than 7 s. A cue is shown for a second, and for long enough to be read,
    wherever the next one leaves the time.
    """
    limits = limits or limits_of(segments)
    tokens = tokens_of(segments, limits.columns)
    cutter = _Cutter(tokens, limits)
    cues: list[Cue] = []
    earliest = 0
    for first, end in cutter.cuts():
        start = max(tokens[first].start_ms, earliest)
        following = tokens[end].start_ms if end < len(tokens) else None
        spoken = max(tokens[end - 1].end_ms, start + 1)
        wanted = min(
            start + limits.reading_ms(cutter.width(first, end)), max(spoken + LINGER_MS, start + SHORTEST_MS)
        )
        until = min(max(spoken, wanted), start + LONGEST_MS)
        if following is not None:
            until = max(min(until, following), start + 1)  # in the same millisecond: the next one is later
        cues.append(Cue(start, until, cutter.lines(first, end)))
        earliest = until
    return cues


class _Cutter:
    """Finds the cuts that cost least, by dynamic programming over every cue that fits two lines and 7 s."""

    def __init__(self, tokens: Sequence[Token], limits: Limits) -> None:
        self._tokens = tokens
        self._limits = limits
        self._breaks = (
            [after(token, following) for token, following in zip(tokens, [*tokens[1:], None], strict=True)]
            if tokens
            else []
        )
        # Where each token begins and ends if all stood in one line.
        spaces = [1 if token.joint == "space" else 0 for token in tokens]
        widths = [width(token.text) for token in tokens]
        self._ends = list(accumulate(space + columns for space, columns in zip(spaces, widths, strict=True)))
        self._starts = [end - columns for end, columns in zip(self._ends, widths, strict=True)]
        self._within = list(accumulate((found.within for found in self._breaks), initial=0.0))

    def width(self, first: int, end: int) -> int:
        """Columns of the tokens from `first` until before `end` in one line."""
        return self._ends[end - 1] - self._starts[first]

    def cuts(self) -> list[tuple[int, int]]:
        """First token of every cue, and the one behind its last."""
        count = len(self._tokens)
        least = [0.0] + [float("inf")] * count
        before = [0] * (count + 1)
        for first in range(count):
            for end in self._fitting(first):
                cost = least[first] + self._cost(first, end)
                if cost < least[end]:
                    least[end], before[end] = cost, first
        found, end = [], count
        while end:
            found.append((before[end], end))
            end = before[end]
        return found[::-1]

    def lines(self, first: int, end: int) -> tuple[str, ...]:
        """One line if it fits; else two, broken where it reads best and looks even."""
        if self.width(first, end) <= self._limits.columns:
            return (joined(self._tokens[first:end]),)
        columns = self._limits.columns
        possible = [at for at in range(first + 1, end) if max(self.width(first, at), self.width(at, end)) <= columns]
        at = min(possible, key=lambda at: self._uneven(first, at, end) + self._breaks[at - 1].line)
        return joined(self._tokens[first:at]), joined(self._tokens[at:end])

    def _uneven(self, first: int, at: int, end: int) -> float:
        return 20 * abs(self.width(first, at) - self.width(at, end)) / self._limits.columns

    def _fitting(self, first: int) -> range:
        """Ends that a cue from `first` may have: two lines if the first is filled, and 7 s; one token always may."""
        second = end = first + 1
        while end < len(self._tokens):
            if self.width(first, end + 1) <= self._limits.columns:
                second = end + 1
            elif self.width(second, end + 1) > self._limits.columns:
                break
            if self._tokens[end].end_ms - self._tokens[first].start_ms > LONGEST_MS:
                break
            end += 1
        return range(first + 1, end + 1)

    def _cost(self, first: int, end: int) -> float:
        """How badly a cue reads: its break, what it joins, how short and how fast it is; cues have a price, too."""
        start = self._tokens[first].start_ms
        following = self._tokens[end].start_ms if end < len(self._tokens) else start + LONGEST_MS
        room_ms = max(1, min(following - start, LONGEST_MS))
        columns = self.width(first, end)
        too_short = max(0, SHORTEST_MS - room_ms) / SHORTEST_MS
        too_fast = max(0.0, columns * 1000 / room_ms / self._limits.columns_per_s - 1)
        empty = 1 - columns / (2 * self._limits.columns)
        joins = self._within[end - 1] - self._within[first]
        return 12 + self._breaks[end - 1].cue + joins + 40 * too_short + 30 * min(too_fast, 2) + 15 * empty**2
