"""Stand-ins for the tables of vectors and of pending texts, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.ids import WorkKey
from services.embed_agent.batches import Batch, calls_of, unpacked
from services.embed_agent.domain import Chunk
from services.embed_agent.ports import Abandoned, Later, Together, Want
from services.embed_agent.together import PendingText


@dataclass(frozen=True)
class Kept:
    """What a piece of work has in the store: its chunks, and the vectors of the store that they have."""

    chunks: Sequence[Chunk]
    vectors: Mapping[str, Sequence[float]]


class FakeStore:
    """Implements `VectorStore`. `had`: texts that were embedded before."""

    def __init__(self) -> None:
        self.kept: dict[WorkKey, Kept] = {}
        self.had: dict[str, int] = {}
        self.vectors: dict[str, Sequence[float]] = {}
        self.bought_for: dict[WorkKey, set[str]] = {}
        self.error: Exception | None = None

    async def known(
        self, model: str, hashes: Sequence[str], *, bought_for: WorkKey | None = None
    ) -> Mapping[str, int]:
        del model
        known = {**self.had, **{name: len(vector) for name, vector in self.vectors.items()}}
        if bought_for is not None:
            known = dict.fromkeys(self.bought_for.get(bought_for, set()), 2)
        return {name: known[name] for name in hashes if name in known}

    async def keep(self, model: str, batch: Batch) -> None:
        del model
        if self.error:
            raise self.error
        self.vectors |= unpacked(batch)

    async def replace(self, work_key: WorkKey, embedding_type: str, model: str, chunks: Sequence[Chunk]) -> None:
        del embedding_type, model
        vectors = {name: self.vectors[name] for chunk in chunks if (name := chunk.content_hash) in self.vectors}
        self.kept[work_key] = Kept(chunks, vectors)


class FakePending:
    """Implements `PendingTexts` for one work at a time: nothing waits, unless a test says so.

    `others` are taken along by the next call; `answers` are given instead of what would be said.
    """

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.others: list[PendingText] = []
        self.answers: list[Later | Abandoned] = []
        self.wants: list[Want] = []
        self.released: list[tuple[WorkKey, bool]] = []
        self.batches: list[tuple[WorkKey, int, Batch]] = []

    async def next(self, want: Want) -> Together | Later | Abandoned:
        self.wants.append(want)
        if self.answers:
            return self.answers.pop(0)
        own = [
            PendingText(want.work_key, want.share_id, one.content_hash, one.text, one.tokens) for one in want.missing
        ]
        texts = own if want.alone else [*own, *self.others]
        return Together(next(calls_of(texts, texts=want.most_texts, tokens=want.most_tokens)))

    async def bought(self, work_key: WorkKey, call_no: int, model: str, batch: Batch) -> None:
        await self._store.keep(model, batch)
        self._store.bought_for.setdefault(work_key, set()).update(batch.hashes)
        self.batches.append((work_key, call_no, batch))

    async def release(self, work_key: WorkKey, *, alone: bool = False) -> None:
        self.released.append((work_key, alone))

    async def tokens_of(self, work_key: WorkKey) -> int:
        return sum(part.tokens for _, _, batch in self.batches for part in batch.parts if part.work_key == work_key)
