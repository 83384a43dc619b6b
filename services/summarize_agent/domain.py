"""What is summarised, and what a summary is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from millrace.models.question import Wrong
from millrace.text import count_words, looks_binary

LEAST_CHARACTERS = 50
LEAST_WORDS = 10
MOST_CHARACTERS = 400_000
"""About 100,000 tokens."""

Source = Literal["transcript", "text"]
Backend = Literal["extractive", "api"]


class Summary(BaseModel):
    """What a summarizer makes of a text."""

    model_config = ConfigDict(frozen=True)

    summary: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    key_points: list[str] = []
    tags: list[str] = []
    category: str | None = None
    quality: float | None = Field(default=None, ge=0, le=1)


Kind = Literal["whole", "part", "merge", "final"]
"""What is summarised at once: a whole text, a part of one, summaries of neighbouring parts, or those of all parts.

Of `part` and `merge` only summary and key points are asked for.
"""


@dataclass(frozen=True)
class Cut:
    """Where something is cut: the end of every part, in characters of a text or in summaries of parts.

    `truncated`: the rest of the text is left out.
    """

    ends: tuple[int, ...]
    truncated: bool = False


@dataclass(frozen=True)
class Task:
    """One summary that is asked for.

    `language` is a BCP 47 tag, if it is known; `number` of `of` parts, from 1; `wrong` an earlier answer to it.
    """

    text: str
    language: str | None = None
    kind: Kind = "whole"
    number: int = 1
    of: int = 1
    wrong: Wrong | None = None


class Answer(BaseModel):
    """A summarizer's answer as it was paid for; `summary` is None when it is not in the form that was asked for.

    Then `said`, `problem` and `refused` are as in `ChatAnswer`. `cut` is in the answers about a level's first part.
    """

    model_config = ConfigDict(frozen=True)

    summary: Summary | None
    tokens_in: int = 0
    tokens_out: int = 0
    said: str = ""
    problem: str = ""
    refused: bool = False
    cut: Cut | None = None

    @property
    def wrong(self) -> Wrong:
        """What to show the summarizer when it is asked again."""
        return Wrong(self.said, self.problem)


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
    truncated: bool = False
    parts: int = 0
    links: list[str] = []
    emails: int = 0
    code_blocks: int = 0


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
