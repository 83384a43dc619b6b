"""What transcribing means, without I/O: sound, pauses, times, and when there is nothing to hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from millrace.contracts.events import Segment, Word

SAMPLE_RATE = 16_000
BYTES_PER_SAMPLE = 2
_BYTES_PER_MS = SAMPLE_RATE // 1000 * BYTES_PER_SAMPLE
SILENT_DB = -50.0

Backend = Literal["local", "api"]


@dataclass(frozen=True)
class Audio:
    """Mono sound of 16 kHz as signed 16-bit little-endian samples.

    `loudest_db` is the level of the loudest second, in dB below full scale: a mean over the whole would call a long
    recording with few words silent.
    """

    pcm: bytes
    loudest_db: float

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds, rounded down."""
        return len(self.pcm) // _BYTES_PER_MS


@dataclass(frozen=True)
class Span:
    """A stretch of sound in which somebody speaks, from `start_ms` until before `end_ms`."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """Length in milliseconds."""
        return self.end_ms - self.start_ms


class Heard(BaseModel):
    """What a model heard; times in milliseconds of the sound it was given, or of the media once `restored`."""

    model_config = ConfigDict(frozen=True)

    language: str | None
    segments: list[Segment]

    @property
    def text(self) -> str:
        """All segments as running text."""
        return " ".join(segment.text for segment in self.segments)


class HeardSoFar(BaseModel):
    """Checkpoint of a model that listens: segments of the first so many milliseconds of speech."""

    model_config = ConfigDict(frozen=True)

    speech_ms: int
    """Length of all the speech: what was cut in another way has other times."""
    segments: list[Segment]

    @property
    def until_ms(self) -> int:
        """Where to go on; models round beyond the end of what they were given."""
        return min(self.segments[-1].end_ms, self.speech_ms) if self.segments else 0


class TranscriptResult(BaseModel):
    """Result of the stage: what `TranscriptReady` says about the media, whoever shared it."""

    model_config = ConfigDict(frozen=True)

    skipped_reason: str | None = None
    language: str | None = None
    text: str = ""
    segments: list[Segment] = []
    segments_ref: str | None = None
    duration_ms: int
    billed_ms: int = 0
    backend: Backend | Literal["caption"]
    """`caption`: nobody listened, the text is what a page without a video says about itself."""
    model: str


def is_silent(audio: Audio, spans: Sequence[Span], *, silent_db: float) -> bool:
    """Whether a model would be asked to listen to nothing, and might invent words."""
    return audio.loudest_db < silent_db or not spans


def only_speech(audio: Audio, spans: Sequence[Span]) -> Audio:
    """The sound of the spans, one after another. Spans are in order and do not overlap."""
    pieces = (audio.pcm[span.start_ms * _BYTES_PER_MS : span.end_ms * _BYTES_PER_MS] for span in spans)
    return Audio(b"".join(pieces), audio.loudest_db)


def rest(audio: Audio, from_ms: int) -> Audio:
    """The sound from a moment on."""
    return Audio(audio.pcm[from_ms * _BYTES_PER_MS :], audio.loudest_db)


def later(segments: Sequence[Segment], by_ms: int) -> list[Segment]:
    """Segments of `rest`, with the times of the whole."""
    return [_moved(segment, by_ms) for segment in segments]


def restored(heard: Heard, spans: Sequence[Span]) -> Heard:
    """What was heard in `only_speech`, with the times of the original media."""
    return Heard(language=heard.language, segments=[_restored_segment(segment, spans) for segment in heard.segments])


def original_ms(cut_ms: int, spans: Sequence[Span], *, is_end: bool) -> int:
    """The moment of the original media that is at `cut_ms` of `only_speech`.

    Where two spans meet, an end belongs to the span before and a start to the span after. Times outside are moved to
    the nearest span, because models round beyond the end of what they were given.
    """
    left = max(cut_ms, 0)
    for span in spans:
        if left < span.length_ms or (is_end and left == span.length_ms):
            return span.start_ms + left
        left -= span.length_ms
    return spans[-1].end_ms


def _moved(segment: Segment, by_ms: int) -> Segment:
    words = segment.words and [
        Word(start_ms=word.start_ms + by_ms, end_ms=word.end_ms + by_ms, text=word.text) for word in segment.words
    ]
    return Segment(start_ms=segment.start_ms + by_ms, end_ms=segment.end_ms + by_ms, text=segment.text, words=words)


def _restored_segment(segment: Segment, spans: Sequence[Span]) -> Segment:
    words = None if segment.words is None else [_restored_word(word, spans) for word in segment.words]
    start_ms, end_ms = _restored_times(segment.start_ms, segment.end_ms, spans)
    return Segment(start_ms=start_ms, end_ms=end_ms, text=segment.text, words=words)


def _restored_word(word: Word, spans: Sequence[Span]) -> Word:
    start_ms, end_ms = _restored_times(word.start_ms, word.end_ms, spans)
    return Word(start_ms=start_ms, end_ms=end_ms, text=word.text)


def _restored_times(start_ms: int, end_ms: int, spans: Sequence[Span]) -> tuple[int, int]:
    start = original_ms(start_ms, spans, is_end=False)
    # A word of no length at a seam would otherwise end before it starts.
    return start, max(start, original_ms(end_ms, spans, is_end=True))
