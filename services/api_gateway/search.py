"""Search by meaning and by words, page by page. A query's embedding is a model call like any other: it is granted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Protocol

from millrace.contracts.events import Segment
from millrace.contracts.search_api import MatchedBy, Moment, SearchAnswer, SearchHit, SearchMode
from millrace.ids import RequestId
from millrace.ledger.port import Ledger
from millrace.models.choice import Models
from millrace.models.port import EmbeddingModel
from services.api_gateway.answers import Answers
from services.api_gateway.by_meaning import ByMeaning, Meant, Vectors, VectorSearch
from services.api_gateway.cursors import Place, cursor_of, fingerprint, place_of
from services.api_gateway.errors import BadRequest, NotNow, TooWide
from services.api_gateway.filters import EVERYTHING, Filters
from services.api_gateway.moments import Sentence, best_sentence, link_at, words_of
from services.api_gateway.passages import Passage, TookTooLong
from services.api_gateway.query_vectors import NoVector, QueryVectors, new_request_id
from services.api_gateway.ranking import Fused, fuse, highlights, snippet
from services.api_gateway.spoken import Stretch
from services.api_gateway.terms import LEAST_SHARE

DEPTH: Final = 100
"""Passages that a ranking by itself brings, whatever the size of a page: all pages are cut from the same hits."""
EACH: Final = 60
"""Passages of each of two rankings. Twice as many rows, some being repeats, are what one look into the index gives
(`hnsw.ef_search` of SEARCH_SETTINGS); a second look takes a third of a search's time.
"""
SHARES_FIRST: Final = 50
"""Shares that a search in two phases looks into."""
_OF_SIMILAR: Final = 5  # passages for each share that is asked for
_BY: Final[Mapping[MatchedBy, str]] = {"semantic": "meaning", "keyword": "words"}
_TOO_LONG: Final = "The search took too long; narrow it by a filter, or use fewer words."
_Rankings = dict[MatchedBy, list[Passage]]
_Key = tuple[str, str]  # of a passage


class PassageStore(VectorSearch, Protocol):
    """Finds passages that an owner may see."""

    async def changed(self, owner: str, since: str | None) -> tuple[str, bool]:
        """A mark of what there is, and whether what the owner may find has changed since an earlier one."""
        ...

    async def by_words(
        self, owner: str, query: str, limit: int, filters: Filters, *, least_share: float
    ) -> list[Passage]:
        """Best first: passages with some of the words, of such a share of their worth at least."""
        ...

    async def worth(self, words: set[str]) -> Mapping[str, float]:
        """What each word says about a passage: the rarer it is, the more."""
        ...


class Transcripts(Protocol):
    """Knows what was said."""

    async def segments(self, owner: str, stretches: Sequence[Stretch]) -> list[list[Segment]]:
        """The segments that touch each stretch; none where they cannot be had."""
        ...


@dataclass(frozen=True)
class _Asked:
    """What the order of the hits depends on, besides the model."""

    query: str
    owner: str
    mode: SearchMode
    filters: Filters
    least_similarity: float
    two_phase: bool


class Search:
    """Answers queries; falls back to words when meaning cannot be bought, and says so.

    Shares are searched by whichever model has embedded them, a query's vector of each bought for itself
    (docs/decisions/reembedding.md); `model` is this gateway's own, `models` has the others. A search waits
    `grant_within_s` for the ledger, which is less than the ledger's client would.

    :param spoken: where sentences of hits are looked up.
    :param answers: where answers are kept as long as nothing changes.
    :param shares_first: how many shares a search in two phases looks into.
    """

    def __init__(
        self,
        passages: PassageStore,
        model: EmbeddingModel,
        ledger: Ledger,
        request_id: Callable[[], RequestId] = new_request_id,
        *,
        spoken: Transcripts | None = None,
        shares_first: int = SHARES_FIRST,
        answers: Answers | None = None,
        models: Models[EmbeddingModel] | None = None,
        grant_within_s: float = 3.0,
    ) -> None:
        self._passages = passages
        self._spoken = spoken
        self._shares_first = shares_first
        self._answers = Answers() if answers is None else answers
        vectors = QueryVectors(ledger, request_id, grant_within_s=grant_within_s)
        self._by_meaning = ByMeaning(passages, model, models or Models(model.name, model), vectors)

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
        two_phase: bool = False,
        cursor: str | None = None,
    ) -> SearchAnswer:
        """The next `limit` of the best passages that `owner` may see; `account` pays for the query's embedding.

        Passages whose cosine to the query is below `least_similarity` are not found by meaning.

        :param two_phase: look for the nearest shares first, and for passages in them alone.
        :param cursor: `next` of the page before; the first one without.
        :raises BadRequest: shares are to be found first, and nothing by meaning.
        :raises TooWide: it would take too long.
        :raises Unreadable: the cursor is not one of this search.
        :raises NotNow: the first page was found by meaning, and this one cannot be.
        """
        if two_phase and mode == "keyword":
            raise BadRequest("Shares are looked for by meaning: take two_phase without the mode keyword.")
        asked = _Asked(query, owner, mode, filters, least_similarity, two_phase)
        models = await self._by_meaning.models(owner)
        search = fingerprint(models=models, **asdict(asked))
        place = None if cursor is None else place_of(cursor, search)
        # Whoever pays has their own: a kept answer is as good as the vector that it was found by.
        key = search, account, limit, place
        kept = self._answers.get(key)
        mark, changed = await self._changed(owner, None if kept is None else kept.mark)
        if kept is not None and not changed:
            return kept.answer
        answer = await self._page(asked, models, search, account=account, limit=limit, place=place)
        if answer.note is None:  # all that was asked for
            self._answers.keep(key, answer, mark)
        return answer

    async def _page(
        self,
        asked: _Asked,
        models: Sequence[str],
        search: str,
        *,
        account: str,
        limit: int,
        place: Place | None,
    ) -> SearchAnswer:
        query, owner, filters = asked.query, asked.owner, asked.filters
        meant, mode = await self._meant(asked, models, account, place)
        if meant.vectors and meant.is_whole and asked.two_phase:
            asked = replace(asked, filters=replace(filters, among=await self._nearest(asked, meant.vectors)))
        found, late = await self._rankings(replace(asked, mode=mode), meant.vectors)
        note = meant.note
        if late:
            if place is not None or not found:
                raise TooWide(_TOO_LONG)
            note = " ".join(filter(None, [note, f"What would be found by {_BY[late[0]]} took too long."]))
        fused, seen = _fused(found), 0 if place is None else place.seen
        page = await self._with_moments(_hits(found, fused[seen : seen + limit], query), query, owner)
        # The page behind one that lacks something could not be told from it.
        more = len(fused) > seen + limit and not late and meant.is_whole
        following = cursor_of(Place(seen + limit, mode), search) if more else None
        return SearchAnswer(query=query, mode=mode, note=note, hits=page, next=following)

    async def _changed(self, owner: str, since: str | None) -> tuple[str, bool]:
        try:
            return await self._passages.changed(owner, since)
        except TookTooLong as exc:
            raise TooWide(_TOO_LONG) from exc

    async def similar(self, share_id: str, *, owner: str, limit: int, filters: Filters = EVERYTHING) -> SearchAnswer:
        """Shares that are about the same, each with its nearest passage; costs nothing, as all vectors are there.

        :raises TooWide: it would take too long.
        """
        vectors = await self._by_meaning.middles(owner, share_id)
        found: list[Passage] = []
        if vectors:
            # Left out in the query: a long share's own passages would be all of the nearest.
            others = replace(filters, other_than=share_id)
            ranking = self._by_meaning.passages(owner, vectors, limit * _OF_SIMILAR, others)
            if (in_time := await _in_time(ranking)) is None:
                raise TooWide("The search took too long; narrow it by a filter.")
            found = in_time
        shares: dict[str, Passage] = {}
        for passage in found:
            shares.setdefault(passage.share_id, passage)
        note = None if vectors else "This share has no vectors."
        nearest: _Rankings = {"semantic": list(shares.values())}
        return SearchAnswer(query="", mode="semantic", note=note, hits=_hits(nearest, _fused(nearest)[:limit], ""))

    async def _meant(
        self, asked: _Asked, models: Sequence[str], account: str, place: Place | None
    ) -> tuple[Meant, SearchMode]:
        """The query's vectors, if there are to be any, what there is to say; and how is searched then."""
        if asked.mode == "keyword":
            return Meant({}, None, is_whole=True), "keyword"
        if place is not None and place.mode == "keyword":
            return Meant({}, "Searched by words only, as the page before.", is_whole=True), "keyword"
        try:
            meant = await self._by_meaning.vectors(asked.query, account, models)
        except NoVector as exc:
            if place is not None:
                raise _no_page(str(exc)) from exc
            return Meant({}, f"{exc} Searched by words only.", is_whole=True), "keyword"
        if place is not None and not meant.is_whole:
            raise _no_page(meant.note or "")
        return meant, asked.mode if meant.is_whole else "hybrid"

    async def _nearest(self, asked: _Asked, vectors: Vectors) -> tuple[str, ...]:
        try:
            return tuple(await self._by_meaning.shares(asked.owner, vectors, self._shares_first, asked.filters))
        except TookTooLong as exc:
            raise TooWide(_TOO_LONG) from exc

    async def _rankings(self, asked: _Asked, vectors: Vectors) -> tuple[_Rankings, list[MatchedBy]]:
        """What is found in each way that is asked for, and the ways that took too long."""
        owner, filters = asked.owner, asked.filters
        depth = EACH if asked.mode == "hybrid" else DEPTH
        asking: dict[MatchedBy, Awaitable[list[Passage]]] = {}
        if vectors:
            asking["semantic"] = self._by_meaning.passages(owner, vectors, depth, filters)
        if asked.mode != "semantic":
            least = LEAST_SHARE if vectors else 0.0
            asking["keyword"] = self._passages.by_words(owner, asked.query, depth, filters, least_share=least)
        found = dict(zip(asking, await asyncio.gather(*map(_in_time, asking.values())), strict=True))
        late = [name for name, ranking in found.items() if ranking is None]
        rankings = {name: ranking for name, ranking in found.items() if ranking is not None}
        if "semantic" in rankings:
            rankings["semantic"] = [one for one in rankings["semantic"] if one.rank >= asked.least_similarity]
        return rankings, late

    async def _with_moments(self, hits: list[SearchHit], query: str, owner: str) -> list[SearchHit]:
        """Hits of media say which of their sentences is meant."""
        stretches = {
            at: Stretch(hit.share_id, hit.start_ms, hit.start_ms if hit.end_ms is None else hit.end_ms)
            for at, hit in enumerate(hits)
            if hit.start_ms is not None
        }
        if self._spoken is None or not stretches:
            return hits
        worth = await self._passages.worth(words_of(query))
        said = await self._spoken.segments(owner, list(stretches.values()))

        def told() -> list[SearchHit]:
            moments = {
                at: _moment(hits[at], best, query)
                for (at, stretch), segments in zip(stretches.items(), said, strict=True)
                if (best := best_sentence(segments, stretch.start_ms, stretch.end_ms, worth)) is not None
            }
            return [hit.model_copy(update={"moment": moments.get(at)}) for at, hit in enumerate(hits)]

        # A hundred hits take longer than others should wait for.
        return await asyncio.to_thread(told)


def _moment(hit: SearchHit, said: Sentence, query: str) -> Moment:
    text, url = snippet(said.text, query), link_at(hit.url, said.start_ms)
    return Moment(text=text, start_ms=said.start_ms, end_ms=said.end_ms, url=url)


def _no_page(reason: str) -> NotNow:
    return NotNow(f"{reason.rstrip('.')}, so this page cannot be made: search again without the cursor.")


async def _in_time(ranking: Awaitable[list[Passage]]) -> list[Passage] | None:
    try:
        return await ranking
    except TookTooLong:
        return None


def _hits(rankings: _Rankings, fused: Sequence[Fused[_Key]], query: str) -> list[SearchHit]:
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
        for result in fused
        for passage in (passages[result.key],)
        for text in (snippet(passage.text, query),)
    ]


def _fused(rankings: _Rankings) -> list[Fused[_Key]]:
    return fuse({name: [passage.key for passage in ranking] for name, ranking in rankings.items()})
