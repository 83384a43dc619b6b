"""What is embedded: chunks, and what becomes of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from millrace.ids import content_hash

EmbeddingType = Literal["content", "summary"]
"""Of a text: a passage of the share, or what it is about."""
COMPOSITE: Final = "composite"
"""Type of the vector that stands for all of a share; it is made of the others and has no text."""
SUMMARY_WEIGHT: Final = 0.15
"""Of the summary's vector in it; the rest is the mean of the passages' (python -m benchmarks.judge)."""

Source = Literal["transcript", "text"]
Chunker = Literal["none", "transcript", "paragraph", "sentence", "fixed"]
CountTokens = Callable[[str], int]
"""Tokens of a text, as the embedding model counts them."""
SplitSentences = Callable[[str], list[str]]
"""Sentences of a text, in order; joined they are the text again."""


@dataclass(frozen=True)
class Chunk:
    """A stretch of text that gets a vector of its own; times in milliseconds of the media, if there is any."""

    text: str
    tokens: int
    start_ms: int | None = None
    end_ms: int | None = None
    embedding_type: EmbeddingType = "content"

    @property
    def content_hash(self) -> str:
        """Of the text: equal texts have one vector."""
        return content_hash(self.text)


def passages_of(chunks: Iterable[Chunk]) -> int:
    """How many of them search shows."""
    return sum(chunk.embedding_type == "content" for chunk in chunks)


def types_of(chunks: Iterable[Chunk]) -> list[str]:
    """What was made of a text, the vector of the whole share included."""
    return [*dict.fromkeys(chunk.embedding_type for chunk in chunks), COMPOSITE]


class EmbedResult(BaseModel):
    """Result of the stage: what `EmbeddingReady` says about the text, whoever shared it."""

    model_config = ConfigDict(frozen=True)

    skipped_reason: str | None = None
    source: Source
    types: list[str] = []
    backend: Literal["local", "api"]
    model: str
    dimensions: int = 0
    chunker: Chunker
    chunk_count: int = 0
    tokens: int = 0
