"""What embedding needs from outside, besides a model (millrace.models.port)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace.ids import WorkKey
from services.embed_agent.domain import Chunk


@dataclass(frozen=True)
class Vectors:
    """All chunks of a piece of work with their vectors, in the same order."""

    embedding_type: str
    model: str
    chunks: Sequence[Chunk]
    vectors: Sequence[Sequence[float]]


class VectorStore(Protocol):
    """Keeps vectors where search reads them."""

    async def replace(self, work_key: WorkKey, vectors: Vectors) -> None:
        """Keep a piece of work's vectors instead of any that it had; all or nothing.

        Waits while the store is away.
        """
        ...
