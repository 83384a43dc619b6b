"""Search by meaning, whichever models have embedded the shares (docs/decisions/reembedding.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from millrace.errors import Poison
from millrace.models.choice import Models
from millrace.models.port import EmbeddingModel
from services.api_gateway.filters import Filters
from services.api_gateway.passages import Passage
from services.api_gateway.query_vectors import NoVector, QueryVector, QueryVectors
from services.api_gateway.ranking import interleaved

Vectors = dict[str, Sequence[float]]
"""Vectors of one text by model, the preferred one first."""


class VectorSearch(Protocol):
    """Compares vectors with those of an owner's shares."""

    async def models(self, owner: str) -> list[str]:
        """The models that the owner's shares are searched by, the preferred one first."""
        ...

    async def by_meaning(
        self,
        owner: str,
        model: str,
        vector: Sequence[float],
        limit: int,
        filters: Filters,
        *,
        is_one_of_several: bool = False,
    ) -> list[Passage]:
        """Nearest first; of several models, those of shares that are searched by this one."""
        ...

    async def shares(
        self,
        owner: str,
        model: str,
        vector: Sequence[float],
        limit: int,
        filters: Filters,
        *,
        is_one_of_several: bool = False,
    ) -> list[str]:
        """Shares whose vector of the whole is nearest, nearest first; of several models as above."""
        ...

    async def middle(self, owner: str, model: str, share_id: str) -> list[float] | None:
        """The mean of a share's vectors; None where it has none, or is somebody else's."""
        ...


@dataclass(frozen=True)
class Meant:
    """A query's vectors, what there is to say about them, and whether every model that is needed has made one."""

    vectors: Vectors
    note: str | None
    is_whole: bool


class ByMeaning:
    """Asks each model that is needed; their cosines cannot be compared, so their rankings take turns.

    :param own: the model that is asked where nothing is embedded yet.
    """

    def __init__(
        self, store: VectorSearch, own: EmbeddingModel, models: Models[EmbeddingModel], vectors: QueryVectors
    ) -> None:
        self._store = store
        self._own = own
        self._models = models
        self._vectors = vectors

    async def models(self, owner: str) -> list[str]:
        """The models that an owner's searches need, the preferred one first; one at least."""
        return await self._store.models(owner) or [self._own.name]

    async def vectors(self, query: str, account: str, names: Sequence[str]) -> Meant:
        """The query's vector of each model.

        :raises NoVector: there is none at all.
        """
        asked = (self._vector(query, account, name) for name in names)
        found = dict(zip(names, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        vectors: Vectors = {}
        notes: dict[str, None] = {}
        for name, one in found.items():
            if isinstance(one, NoVector):
                more = f" Shares that only {name} has embedded are searched by words." if len(names) > 1 else ""
                notes[f"{one}{more}"] = None
            elif isinstance(one, BaseException):
                raise one
            else:
                vectors[name] = one.numbers
                notes |= {} if one.note is None else {one.note: None}
        if not vectors:
            raise NoVector(" ".join(dict.fromkeys(map(str, found.values()))))
        return Meant(vectors, " ".join(notes) or None, len(vectors) == len(names))

    async def middles(self, owner: str, share_id: str) -> Vectors:
        """The mean of a share's vectors, of each model that has some."""
        return {
            name: middle
            for name in await self._store.models(owner)
            if (middle := await self._store.middle(owner, name, share_id)) is not None
        }

    async def passages(self, owner: str, vectors: Vectors, depth: int, filters: Filters) -> list[Passage]:
        """Nearest first."""
        several = len(vectors) > 1
        rankings = (
            self._store.by_meaning(owner, name, vector, depth, filters, is_one_of_several=several)
            for name, vector in vectors.items()
        )
        return interleaved(await asyncio.gather(*rankings), lambda passage: passage.key)[:depth]

    async def shares(self, owner: str, vectors: Vectors, most: int, filters: Filters) -> list[str]:
        """The nearest as a whole, nearest first."""
        several = len(vectors) > 1
        rankings = (
            self._store.shares(owner, name, vector, most, filters, is_one_of_several=several)
            for name, vector in vectors.items()
        )
        return interleaved(await asyncio.gather(*rankings), lambda share: share)[:most]

    async def _vector(self, query: str, account: str, name: str) -> QueryVector:
        if name == self._own.name:
            return await self._vectors.of(self._own, query, account)
        try:
            # In a thread: a local model that was not asked before is read from files.
            model = await asyncio.to_thread(self._models.of, name)
        except Poison as exc:
            reason = str(exc).rstrip(".")
            raise NoVector(f"The gateway cannot embed the query as some shares were: {reason}.") from exc
        return await self._vectors.of(model, query, account)
