"""Typed records of the HTTP API for transcripts as files."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from millrace.contracts.api import Answer
from millrace.money import ZERO, MicroUSD

TranscriptFormat = Literal["json", "srt", "vtt", "txt"]

MEDIA_TYPES: Final[dict[TranscriptFormat, str]] = {
    "json": "application/json",
    "srt": "application/x-subrip",
    "vtt": "text/vtt; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
}
"""Content type of each format; all are in UTF-8. The first is what is sent to whoever names none."""


class SpokenWord(Answer):
    """One word; times in seconds of the original media."""

    word: str
    start: float
    end: float


class SpokenSegment(Answer):
    """A stretch of speech; times in seconds of the original media."""

    id: int
    start: float
    end: float
    text: str
    words: list[SpokenWord] | None = None


class Billing(Answer):
    """Who heard it, seconds of sound that the model was given, and what that cost this share.

    `cost_micro_usd` is 0 where another share has paid for the same work.
    """

    backend: str
    model: str
    seconds: float
    cost_micro_usd: MicroUSD = ZERO


class TranscriptDocument(Answer):
    """A transcript with the fields of OpenAI's `verbose_json`: times are seconds here, and here only.

    `duration` is that of the media; `note` says so when the segments are gone.
    """

    text: str
    language: str | None = None
    duration: float
    segments: list[SpokenSegment] = Field(default_factory=list)
    billing: Billing
    note: str | None = None
