"""Search by meaning and by words. A query's embedding is a model call like any other: the ledger grants it first."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol

from millrace.contracts.search_api import MatchedBy, SearchAnswer, SearchHit, SearchMode
from millrace.errors import MillraceError, Poison, Refusal, Retryable, Unavailable
from millrace.ids import RequestId
from millrace.ledger.port import Ledger
from millrace.models.choice import Models
from millrace.models.port import EmbeddingModel
from millrace.money import format_usd
from services.api_gateway.errors import TooWide
from services.api_gateway.filters import EVERYTHING, Filters
from services.api_gateway.passages import Passage, TookTooLong
from services.api_gateway.ranking import fuse, highlights, interleaved, snippet
from services.api_gateway.terms import LEAST_SHARE

SCOPE = "search"
_HOLD_FOR = timedelta(minutes=6)  # the embedding call's own limit of one minute, and five for settling
_DEPTH = 5  # each ranking is read this many times deeper than the answer, so that fusion has something to weigh
_SHALLOWEST = 50
Vectors = dict[str, Sequence[float]]
"""A query's vectors by model, the preferred one first."""
_BY: Final[Mapping[MatchedBy, str]] = {"semantic": "meaning", "keyword": "words"}


class PassageStore(Protocol):
    """Finds passages that an owner may see."""

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

    async def middle(self, owner: str, model: str, share_id: str) -> list[float] | None:
        """The mean of a share's vectors; None where it has none, or is somebody else's."""
        ...

    async def by_words(
        self, owner: str, query: str, limit: int, filters: Filters, *, least_share: float
    ) -> list[Passage]:
        """Best first: passages with some of the words, of such a share of their worth at least."""
        ...


def new_request_id() -> RequestId:
    """Every query is an effect of its own: the same words asked twice are embedded, and paid for, twice."""
    return RequestId(f"search-{uuid.uuid4()}")


class Search:
    """Answers queries; falls back to words when meaning cannot be bought, and says so.

    Shares are searched by whichever model has embedded them, a query's vector of each bought for itself
    (docs/decisions/reembedding.md); `model` is this gateway's own, `models` has the others. A search waits
    `grant_within_s` for the ledger, which is less than the ledger's client would.
    """

    def __init__(
        self,
        passages: PassageStore,
        model: EmbeddingModel,
        ledger: Ledger,
        request_id: Callable[[], RequestId] = new_request_id,
        *,
        models: Models[EmbeddingModel] | None = None,
        grant_within_s: float = 3.0,
    ) -> None:
        self._passages = passages
        self._model = model
        self._models = models or Models(model.name, model)
        self._ledger = ledger
        self._request_id = request_id
        self._grant_within_s = grant_within_s

    async def answer(
        self,
        query: str,
        *,
        owner: str,
        account: str,
        limit: int,
        mode: SearchMode,
        filters: Filters = EVERYTHING,
        least_similarity: float = 0.0,
    ) -> SearchAnswer:
        """The best `limit` passages that `owner` may see; `account` pays for the query's embedding.

        Passages whose cosine to the query is below `least_similarity` are not found by meaning.

        :raises TooWide: it would take too long.
        """
        depth = max(limit * _DEPTH, _SHALLOWEST)
        vectors: Vectors = {}
        note: str | None = None
        if mode != "keyword":
            try:
                vectors, note, is_whole = await self._vectors(query, account, owner)
                if not is_whole:
                    mode = "hybrid"
            except _NoVector as exc:
                note, mode = f"{exc} Searched by words only.", "keyword"
        rankings: dict[MatchedBy, Awaitable[list[Passage]]] = {}
        if vectors:
            rankings["semantic"] = self._by_meaning(owner, vectors, depth, filters)
        if mode != "semantic":
            least = LEAST_SHARE if vectors else 0.0
            rankings["keyword"] = self._passages.by_words(owner, query, depth, filters, least_share=least)
        found = dict(zip(rankings, await asyncio.gather(*map(_in_time, rankings.values())), strict=True))
        if late := [name for name, ranking in found.items() if ranking is None]:
            if len(late) == len(found):
                raise TooWide("The search took too long; narrow it by a filter, or use fewer words.")
            note = " ".join(filter(None, [note, f"What would be found by {_BY[late[0]]} took too long."]))
        rankings_in_time = {
            name: [one for one in ranking if name != "semantic" or one.rank >= least_similarity]
            for name, ranking in found.items()
            if ranking is not None
        }
        return SearchAnswer(query=query, mode=mode, note=note, hits=_hits(rankings_in_time, query)[:limit])

    async def similar(self, share_id: str, *, owner: str, limit: int, filters: Filters = EVERYTHING) -> SearchAnswer:
        """Shares that are about the same, each with its nearest passage; costs nothing, as all vectors are there.

        :raises TooWide: it would take too long.
        """
        vectors: Vectors = {
            name: middle
            for name in await self._passages.models(owner)
            if (middle := await self._passages.middle(owner, name, share_id)) is not None
        }
        found: list[Passage] = []
        if vectors:
            # Left out in the query: a long share's own passages would be all of the nearest.
            others = replace(filters, other_than=share_id)
            ranking = self._by_meaning(owner, vectors, limit * _DEPTH, others)
            if (in_time := await _in_time(ranking)) is None:
                raise TooWide("The search took too long; narrow it by a filter.")
            found = in_time
        shares: dict[str, Passage] = {}
        for passage in found:
            shares.setdefault(passage.share_id, passage)
        note = None if vectors else "This share has no vectors."
        hits = _hits({"semantic": list(shares.values())}, "")[:limit]
        return SearchAnswer(query="", mode="semantic", note=note, hits=hits)

    async def _by_meaning(self, owner: str, vectors: Vectors, depth: int, filters: Filters) -> list[Passage]:
        """Of all models; their cosines cannot be compared, so their rankings take turns."""
        rankings = (
            self._passages.by_meaning(owner, name, vector, depth, filters, is_one_of_several=len(vectors) > 1)
            for name, vector in vectors.items()
        )
        return interleaved(await asyncio.gather(*rankings), lambda passage: passage.key)

    async def _vectors(self, query: str, account: str, owner: str) -> tuple[Vectors, str | None, bool]:
        """The query's vector of each model that shares are searched by, what there is to say, and whether it is all.

        :raises _NoVector: there is none at all.
        """
        names = await self._passages.models(owner) or [self._model.name]
        asked = (self._vector(query, account, name) for name in names)
        found = dict(zip(names, await asyncio.gather(*asked, return_exceptions=True), strict=True))
        vectors: Vectors = {}
        notes: dict[str, None] = {}
        for name, one in found.items():
            if isinstance(one, _NoVector):
                more = f" Shares that only {name} has embedded are searched by words." if len(names) > 1 else ""
                notes[f"{one}{more}"] = None
            elif isinstance(one, BaseException):
                raise one
            else:
                vectors[name], note = one
                notes |= {} if note is None else {note: None}
        if not vectors:
            raise _NoVector(" ".join(dict.fromkeys(map(str, found.values()))))
        return vectors, " ".join(notes) or None, len(vectors) == len(names)

    async def _vector(self, query: str, account: str, name: str) -> tuple[Sequence[float], str | None]:
        """The query's vector, and what there is to say about its price."""
        model, request = await self._opened(name), self._request_id()
        try:
            async with asyncio.timeout(self._grant_within_s):  # cancelled, the client lets go of the hold
                decision = await self._ledger.reserve(
                    request,
                    account=account,
                    scope=SCOPE,
                    amount=model.tariff.most(model.count_tokens(query)),
                    hold_for=_HOLD_FOR,
                    model=model.name,
                )
        except (Unavailable, TimeoutError) as exc:
            raise _NoVector("The cost ledger does not answer, so the query's embedding was not granted.") from exc
        if isinstance(decision, Refusal):
            raise _NoVector(_why(decision))
        try:
            async with decision as hold:
                embedded = await model.embed([query])
                hold.settle(model.tariff.cost(embedded.use))
        except (Retryable, Poison) as exc:
            raise _NoVector(f"The embedding model does not work: {_clause(exc)}.") from exc
        except MillraceError as exc:
            raise _NoVector(f"The embedding model did not answer: {_clause(exc)}.") from exc
        vector = embedded.vectors[0]
        if not any(vector) or not all(map(math.isfinite, vector)):
            raise _NoVector("The query means nothing to the embedding model.")
        return vector, None if decision.warning is None else f"The query's embedding is {decision.warning}."

    async def _opened(self, name: str) -> EmbeddingModel:
        try:
            # In a thread: a local model that was not asked before is read from files.
            return await asyncio.to_thread(self._models.of, name)
        except Poison as exc:
            raise _NoVector(f"The gateway cannot embed the query as some shares were: {_clause(exc)}.") from exc


async def _in_time(ranking: Awaitable[list[Passage]]) -> list[Passage] | None:
    try:
        return await ranking
    except TookTooLong:
        return None


class _NoVector(MillraceError):
    """The query has no vector; the text says why."""


def _clause(error: MillraceError) -> str:
    return str(error).rstrip(".")


def _why(refusal: Refusal) -> str:
    window, _, scope = refusal.cap.partition(":")
    when = "" if refusal.room_at is None else f" (room again at {refusal.room_at:%Y-%m-%d %H:%M} UTC)"
    needed, left, cap = map(format_usd, (refusal.needed_micro_usd, refusal.left_micro_usd, refusal.cap_micro_usd))
    return f"The query's embedding needs {needed}, but {left} is left of this {window}'s {cap} for {scope}{when}."


def _hits(rankings: dict[MatchedBy, list[Passage]], query: str) -> list[SearchHit]:
    passages = {passage.key: passage for ranking in rankings.values() for passage in ranking}
    similar = {passage.key: passage.rank for passage in rankings.get("semantic", [])}
    return [
        SearchHit(
            share_id=passage.share_id,
            title=passage.title,
            url=passage.url,
            text=text,
            highlights=highlights(text, query),
            start_ms=passage.start_ms,
            end_ms=passage.end_ms,
            score=round(result.score, 6),
            similarity=similar.get(result.key),
            matched_by=result.matched_by,
        )
        for result in fuse({name: [p.key for p in ranking] for name, ranking in rankings.items()})
        for passage in (passages[result.key],)
        for text in (snippet(passage.text, query),)
    ]
