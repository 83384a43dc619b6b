"""What embedding needs from outside, besides a model (millrace.models.port)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace.ids import WorkKey
from services.embed_agent.domain import Chunk


@dataclass(frozen=True)
class Vectors:
    """All chunks of a piece of work, and the vectors that were made for it, by content hash of their text.

    The store has those of the other texts.
    """

    model: str
    chunks: Sequence[Chunk]
    vectors: Mapping[str, Sequence[float]]


class VectorStore(Protocol):
    """Keeps vectors where search reads them; waits while it is away."""

    async def known(self, model: str, hashes: Sequence[str]) -> Mapping[str, int]:
        """Which of these texts the model has embedded before, by content hash, and the length of their vectors."""
        ...

    async def replace(self, work_key: WorkKey, vectors: Vectors) -> None:
        """Keep a piece of work's chunks instead of any that it had, new vectors and the one that stands for all of
        them; all or nothing.
        """
        ...
