"""What is summarised, and what a summary is. Pure."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from millrace.text import count_words, looks_binary

LEAST_CHARACTERS = 50
LEAST_WORDS = 10
MOST_CHARACTERS = 400_000
"""About 100,000 tokens, what common models can read at once."""

Source = Literal["transcript", "text"]
Backend = Literal["extractive", "api"]


class Summary(BaseModel):
    """What a summarizer makes of a text."""

    model_config = ConfigDict(frozen=True)

    summary: str = Field(min_length=1)
    key_points: list[str] = []
    tags: list[str] = []
    category: str | None = None
    quality: float | None = Field(default=None, ge=0, le=1)


class Answer(BaseModel):
    """A summarizer's answer as it was paid for; `summary` is None when it is not in the form that was asked for."""

    model_config = ConfigDict(frozen=True)

    summary: Summary | None
    tokens_in: int = 0
    tokens_out: int = 0


class SummarizeResult(BaseModel):
    """Result of the stage: what `SummaryReady` says about the text, whoever shared it."""

    model_config = ConfigDict(frozen=True)

    skipped_reason: str | None = None
    source: Source
    summary: str = ""
    key_points: list[str] = []
    tags: list[str] = []
    category: str | None = None
    quality: float | None = None
    language: str | None = None
    backend: Backend
    model: str
    tokens_in: int = 0
    tokens_out: int = 0


def skip_reason(text: str, *, most_characters: int = MOST_CHARACTERS) -> str | None:
    """Why a text is not summarised, or None."""
    if looks_binary(text):
        return "binary"
    stripped = text.strip()
    if len(stripped) > most_characters:
        return "too-long"
    if len(stripped) < LEAST_CHARACTERS or count_words(stripped) < LEAST_WORDS:
        return "too-short"
    return None
