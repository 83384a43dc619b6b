"""What embedding needs from outside, besides a model (millrace.models.port)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from millrace.ids import WorkKey
from services.embed_agent.batches import Batch
from services.embed_agent.domain import Chunk
from services.embed_agent.together import PendingText, Times


class VectorStore(Protocol):
    """Keeps vectors where search reads them; waits while it is away."""

    async def known(
        self, model: str, hashes: Sequence[str], *, bought_for: WorkKey | None = None
    ) -> Mapping[str, int]:
        """Which of these texts the model has embedded before, by content hash, and the length of their vectors.

        :param bought_for: only those that were bought since this work has asked for them.
        """
        ...

    async def keep(self, model: str, batch: Batch) -> None:
        """Keep vectors, once for each text."""
        ...

    async def replace(self, work_key: WorkKey, embedding_type: str, model: str, chunks: Sequence[Chunk]) -> None:
        """Keep a piece of work's chunks instead of any that it had, all or nothing. Their vectors are kept."""
        ...


@dataclass(frozen=True)
class Want:
    """What a piece of work wants embedded, and how much goes in a call.

    :param missing: its texts that have no vector.
    :param again: also those that the model has embedded before.
    :param alone: it takes nobody's texts along.
    """

    work_key: WorkKey
    share_id: str
    account: str
    model: str
    missing: Sequence[Chunk]
    times: Times
    most_texts: int
    most_tokens: int
    again: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Together:
    """These texts go now, in one call of the work that has asked and claimed them. None: all are bought by now."""

    texts: Sequence[PendingText]


@dataclass(frozen=True)
class Later:
    """Not yet: more may come until then, or another work has the texts in a call of its own."""

    why: str
    wait: timedelta


@dataclass(frozen=True)
class Abandoned:
    """A work that had claimed wanted texts has ended without keeping their vectors; what it has paid for, by call."""

    work_key: WorkKey
    paid: Sequence[tuple[int, Batch]]


class PendingTexts(Protocol):
    """Texts that wait for a call, of all agents; waits while the database is away."""

    async def next(self, want: Want) -> Together | Later | Abandoned:
        """Write down what a work wants, and say what it has to do next."""
        ...

    async def bought(self, work_key: WorkKey, call_no: int, model: str, batch: Batch) -> None:
        """Keep what a call of a work has bought, for whoever wanted it, and who pays how much; they are woken.

        All or nothing; a repeat changes nothing.
        """
        ...

    async def release(self, work_key: WorkKey, *, alone: bool = False) -> None:
        """Let others have what a work has claimed; they are woken.

        :param alone: each goes in a call of its own work from now on.
        """
        ...

    async def tokens_of(self, work_key: WorkKey) -> int:
        """How many tokens were bought for a work, as the provider counts."""
        ...
