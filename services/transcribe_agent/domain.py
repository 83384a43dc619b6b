"""What transcribing means, without I/O: sound, pauses, times, and when there is nothing to hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from millrace.contracts.events import Segment
from millrace.models.port import Backend

SAMPLE_RATE = 16_000
BYTES_PER_SAMPLE = 2
BYTES_PER_MS = SAMPLE_RATE // 1000 * BYTES_PER_SAMPLE
SILENT_DB = -50.0
CONTAINER_MS = 20
"""A container says a little more than was put into it, up to a frame of Opus; providers may bill by what it says."""


@dataclass(frozen=True)
class Audio:
    """Mono sound of 16 kHz as signed 16-bit little-endian samples.

    `loudest_db` is the level of the loudest second, in dB below full scale: a mean over the whole would call a long
    recording with few words silent. `gain_db` is the gain with which it is to be heard, of one recording always the
    same.
    """

    pcm: bytes
    loudest_db: float
    gain_db: float = 0.0

    @property
    def duration_ms(self) -> int:
        """Length in milliseconds, rounded down."""
        return len(self.pcm) // BYTES_PER_MS

    def part(self, span: Span) -> Audio:
        """A stretch of it."""
        return replace(self, pcm=self.pcm[span.start_ms * BYTES_PER_MS : span.end_ms * BYTES_PER_MS])


@dataclass(frozen=True)
class Span:
    """A stretch of sound, from `start_ms` until before `end_ms`."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """Length in milliseconds."""
        return self.end_ms - self.start_ms


class Heard(BaseModel):
    """What a model heard; times in milliseconds of the sound it was given.

    `billed_ms` is the sound that its provider bills, None where it did not say.
    """

    model_config = ConfigDict(frozen=True)

    language: str | None
    segments: list[Segment]
    billed_ms: int | None = None


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


def is_invented(*, no_speech_prob: float, avg_logprob: float) -> bool:
    """Whether a model of Whisper's kind says itself that nobody spoke, and that its words are a guess.

    The limits are those of Whisper's own decoding, which servers and pipelines do not all apply.
    """
    return no_speech_prob > 0.6 and avg_logprob < -1.0
