"""Speech cut out of its recording: its sound without pauses, and the way back to the recording's times. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from millrace.contracts.events import Segment, Word
from services.transcribe_agent.domain import Audio, Span


@dataclass(frozen=True)
class Pause:
    """A place in `Speech` where a pause was left out, and how long that was."""

    at_ms: int
    length_ms: int


@dataclass(frozen=True)
class Speech:
    """The sound of where somebody speaks, one stretch after another, and the pauses between them."""

    audio: Audio
    pauses: tuple[Pause, ...] = ()

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds."""
        return self.audio.duration_ms


def only_speech(audio: Audio, spans: Sequence[Span]) -> Speech:
    """The sound of the spans. They are in order and do not overlap."""
    ends = accumulate(span.length_ms for span in spans)
    gaps = (after.start_ms - before.end_ms for before, after in pairwise(spans))
    pauses = tuple(Pause(at, length) for at, length in zip(ends, gaps, strict=False))
    return Speech(replace(audio, pcm=b"".join(audio.part(span).pcm for span in spans)), pauses)


def moved(segments: Sequence[Segment], by_ms: int) -> list[Segment]:
    """Segments with later times."""
    return [_moved_segment(segment, by_ms) for segment in segments]


def within(segments: Sequence[Segment], length_ms: int) -> list[Segment]:
    """Segments with times inside the sound that they are about: models round beyond it, and make mistakes."""

    def held(ms: int) -> int:
        return min(max(ms, 0), length_ms)

    found = []
    for one in segments:
        words = one.words and [Word(start_ms=held(w.start_ms), end_ms=held(w.end_ms), text=w.text) for w in one.words]
        found.append(Segment(start_ms=held(one.start_ms), end_ms=held(one.end_ms), text=one.text, words=words))
    return found


def restored(segments: Sequence[Segment], spans: Sequence[Span]) -> list[Segment]:
    """Segments of what was heard in `only_speech`, with the times of the recording."""
    return [_restored_segment(segment, spans) for segment in segments]


def original_ms(cut_ms: int, spans: Sequence[Span], *, is_end: bool) -> int:
    """The moment of the recording that is at `cut_ms` of `only_speech`.

    Where two spans meet, an end belongs to the span before and a start to the span after. Times outside are moved to
    the nearest span, because models round beyond the end of what they were given.
    """
    left = max(cut_ms, 0)
    for span in spans:
        if left < span.length_ms or (is_end and left == span.length_ms):
            return span.start_ms + left
        left -= span.length_ms
    return spans[-1].end_ms


def _moved_segment(segment: Segment, by_ms: int) -> Segment:
    words = segment.words and [
        Word(start_ms=word.start_ms + by_ms, end_ms=word.end_ms + by_ms, text=word.text) for word in segment.words
    ]
    return Segment(start_ms=segment.start_ms + by_ms, end_ms=segment.end_ms + by_ms, text=segment.text, words=words)


def _restored_segment(segment: Segment, spans: Sequence[Span]) -> Segment:
    words = None if segment.words is None else [_restored_word(word, spans) for word in segment.words]
    if words:
        start_ms, end_ms = min(word.start_ms for word in words), max(word.end_ms for word in words)
    else:
        start_ms = original_ms(segment.start_ms, spans, is_end=False)
        end_ms = max(start_ms, original_ms(segment.end_ms, spans, is_end=True))
    return Segment(start_ms=start_ms, end_ms=end_ms, text=segment.text, words=words)


def _restored_word(word: Word, spans: Sequence[Span]) -> Word:
    # Nobody speaks a word over a pause: one that reaches over its edge, as models round, belongs to its larger part.
    middle = original_ms((word.start_ms + word.end_ms) // 2, spans, is_end=False)
    span = next(span for span in spans if span.start_ms <= middle <= span.end_ms)
    shift = middle - (word.start_ms + word.end_ms) // 2
    start = min(max(word.start_ms + shift, span.start_ms), span.end_ms)
    end = min(max(word.end_ms + shift, start), span.end_ms)
    return Word(start_ms=start, end_ms=end, text=word.text)
