"""What is embedded: chunks, and what becomes of them. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from millrace.ids import content_hash

EMBEDDING_TYPE = "content"

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

    @property
    def content_hash(self) -> str:
        """Of the text: equal texts have one vector."""
        return content_hash(self.text)


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
