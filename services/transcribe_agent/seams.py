"""What was heard in several chunks as one: no word lost or doubled where they meet. Pure.

Chunks that meet in a pause share no sound, and nothing is to be done. Chunks that meet in the middle of speech both
hear the words around the cut. The two models' times differ a little, so a rule by time alone would lose or double a
word now and then: the seam is put behind a word that both have heard, and only without one at the cut itself.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from millrace.contracts.events import Segment, Word
from services.transcribe_agent.chunks import Chunk

_SAME_WORD_MS = 1_500  # so differently two models may time a word
_GUESSED_MS = 6_000  # and so differently, where one of them has timed no words but whole segments
_SURELY_MS = 300  # a word that is timed alike needs no neighbour to be the same
_NEIGHBOURS = 2  # on both sides, which tell a word from the same word said again
_NEAREST = 200  # words to a cut, of each chunk, that are compared
_LONGEST_WORD = 30  # characters without a space; what is longer is writing without spaces


@dataclass(frozen=True)
class _TimedWord:
    """A word, and where it stands in its segment's text; `number` counts segments."""

    number: int
    word: Word
    begin: int
    end: int

    @property
    def middle_ms(self) -> int:
        return (self.word.start_ms + self.word.end_ms) // 2

    @cached_property
    def key(self) -> str:
        """The word without its case and punctuation; marks that make another word of it stay."""
        text = unicodedata.normalize("NFKC", self.word.text).casefold()
        return "".join(char for char in text if unicodedata.category(char)[0] not in "PSZC")


def joined(chunks: Sequence[Chunk], heard: Sequence[Sequence[Segment]]) -> list[Segment]:
    """The segments of all chunks, in order; times in milliseconds of all the speech, as those of the chunks."""
    parts = [list(segments) for segments in heard]
    for at in range(1, len(parts)):
        left, right = chunks[at - 1], chunks[at]
        if left.sound.end_ms > right.sound.start_ms:
            parts[at - 1], parts[at] = _seamed(parts[at - 1], parts[at], left, right)
    return [segment for part in parts for segment in part]


def _seamed(
    before: list[Segment], after: list[Segment], left: Chunk, right: Chunk
) -> tuple[list[Segment], list[Segment]]:
    ours, theirs, cut_ms = list(_words(before)), list(_words(after)), left.span.end_ms
    guessed = not all(segment.words for segment in [*before, *after])
    more_ms = _GUESSED_MS if guessed else 0
    shared = range(right.sound.start_ms - more_ms, left.sound.end_ms + more_ms + 1)
    near, far = (_nearest(words, shared, cut_ms) for words in (ours, theirs))
    pairs = [(n, m) for n in near for m in far if _is_the_same(ours, theirs, (n, m), guessed=guessed)]
    if pairs:
        n, m = min(pairs, key=lambda pair: _unlikeliness(ours, theirs, pair, cut_ms))
        kept, rest = ours[: n + 1], theirs[m + 1 :]
    else:
        kept = [word for word in ours if word.middle_ms < cut_ms]
        rest = [word for word in theirs if word.middle_ms >= cut_ms]
    return _only(before, kept), _only(after, rest)


def _nearest(words: Sequence[_TimedWord], shared: range, cut_ms: int) -> list[int]:
    """Places of the words around the cut that both chunks may have heard."""
    inside = [n for n, word in enumerate(words) if word.middle_ms in shared]
    return sorted(inside, key=lambda n: abs(words[n].middle_ms - cut_ms))[:_NEAREST]


def _is_the_same(
    ours: Sequence[_TimedWord], theirs: Sequence[_TimedWord], pair: tuple[int, int], *, guessed: bool
) -> bool:
    """Whether two chunks mean the same word: it reads alike, and so do its neighbours, or its time."""
    one, other = ours[pair[0]], theirs[pair[1]]
    if one.key != other.key or not one.key:
        return False
    apart, alike = abs(one.middle_ms - other.middle_ms), _alike(ours, theirs, pair)
    if guessed:
        return apart <= _GUESSED_MS and alike >= _NEIGHBOURS
    return apart <= _SURELY_MS or (apart <= _SAME_WORD_MS and alike > 0)


def _alike(ours: Sequence[_TimedWord], theirs: Sequence[_TimedWord], pair: tuple[int, int]) -> int:
    """How many of the neighbours on both sides read alike."""
    n, m = pair
    around = [step for step in range(-_NEIGHBOURS, _NEIGHBOURS + 1) if step]
    return sum(_key(ours, n + step) == _key(theirs, m + step) != "" for step in around)


def _unlikeliness(
    ours: Sequence[_TimedWord], theirs: Sequence[_TimedWord], pair: tuple[int, int], cut_ms: int
) -> tuple[int, int, int]:
    """Neighbours that differ, then how far the times are apart, then how far from the cut."""
    n, m = pair
    apart = abs(ours[n].middle_ms - theirs[m].middle_ms)
    return -_alike(ours, theirs, pair), apart // 50, abs(ours[n].middle_ms - cut_ms)


def _key(words: Sequence[_TimedWord], at: int) -> str:
    return words[at].key if 0 <= at < len(words) else ""


def _words(segments: Sequence[Segment]) -> Iterator[_TimedWord]:
    for number, segment in enumerate(segments):
        at = 0
        for word in segment.words or _guessed(segment):
            begin = max(segment.text.find(word.text, at), at)
            at = min(begin + len(word.text), len(segment.text))
            yield _TimedWord(number, word, begin, at)


def _guessed(segment: Segment) -> list[Word]:
    """Words of a segment that came without: each is as long as its share of the text."""
    pieces = [piece for word in segment.text.split() for piece in (word if len(word) > _LONGEST_WORD else (word,))]
    letters, length, said = max(1, sum(map(len, pieces))), segment.end_ms - segment.start_ms, 0
    found = []
    for piece in pieces:
        start, said = said, said + len(piece)
        times = (segment.start_ms + length * at // letters for at in (start, said))
        found.append(Word(start_ms=next(times), end_ms=next(times), text=piece))
    return found


def _only(segments: Sequence[Segment], kept: Sequence[_TimedWord]) -> list[Segment]:
    """The segments with these words alone, in their own writing."""
    found = []
    for number, segment in enumerate(segments):
        words = [spoken for spoken in kept if spoken.number == number]
        if len(words) == len(segment.words or _guessed(segment)):
            found.append(segment)
        elif words:
            found.append(_part(segment, words))
    return found


def _part(segment: Segment, words: Sequence[_TimedWord]) -> Segment:
    whole = [*_words([segment])]
    begin = 0 if words[0].begin == whole[0].begin else words[0].begin
    # Up to the next word, so that punctuation goes with the word before it.
    following = next((word.begin for word in whole if word.begin >= words[-1].end), len(segment.text))
    return Segment(
        start_ms=words[0].word.start_ms,
        end_ms=words[-1].word.end_ms,
        text=segment.text[begin:following].strip(),
        words=None if segment.words is None else [spoken.word for spoken in words],
    )
