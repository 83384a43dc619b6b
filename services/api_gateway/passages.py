"""Passages of shares in PostgreSQL, by meaning (pgvector) and by words (full text); owners see their own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from millrace.errors import MillraceError
from millrace.store.vectors import MOST_DIMENSIONS, halfvec, literal
from services.api_gateway.filters import Filters
from services.api_gateway.terms import Frequencies, Wanted, wanted, weight

SEARCH_SETTINGS: Final = {
    # Plans are made for the values at hand: for a filter that leaves little, PostgreSQL compares what is left, for
    # others it walks the index and goes on until enough of what it finds may be seen.
    "plan_cache_mode": "force_custom_plan",
    "hnsw.iterative_scan": "relaxed_order",
    "hnsw.ef_search": "120",
    # A look that leads through all of a table is no search any more.
    "statement_timeout": "10s",
}
"""What the connections of search are opened with."""

# A chunk belongs to work, which many shares may need: the share comes in by what each model has made of it
# (docs/decisions/reembedding.md). The same words chunked in two ways have one content hash and are answered once.
_COLUMNS = "s.share_id, s.title, s.url, c.content_hash, c.text, c.start_ms, c.end_ms"
_MINE = """
  JOIN share_embeddings j ON j.work_key = {of}.work_key AND j.model = {of}.model
  JOIN shares s ON s.share_id = j.share_id AND s.owner = $1
"""
_SEEN = _MINE.format(of="c") + "AND c.embedding_type = 'content'"  # others are no passages
# Words need no model: of each share the work that is searched.
_SEEN_BY_WORDS = _SEEN + " AND j.searched_until = 'infinity'"
# Of several models, each is asked for the shares that are searched by it; and for those that were until a moment ago,
# as the other one may have been asked before.
_ITS_OWN = "AND j.owner = $1 AND j.searched_until > now() - interval '1 minute'"
# Each step finds the next model in the index.
_MODELS = """
WITH RECURSIVE found AS (
  (SELECT model FROM share_embeddings WHERE owner = $1 AND searched_until = 'infinity' ORDER BY model LIMIT 1)
  UNION ALL
  SELECT (SELECT e.model FROM share_embeddings e WHERE e.owner = $1 AND e.searched_until = 'infinity'
             AND e.model > found.model ORDER BY e.model LIMIT 1)
    FROM found WHERE found.model IS NOT NULL
)
SELECT found.model FROM found, search_model s
 WHERE found.model IS NOT NULL ORDER BY found.model IS DISTINCT FROM s.model, found.model
"""
_MORE = 2  # rows for each passage that is asked for: some have the same words as others of their share
_MOST_LOOKED_AT = 4  # times the candidates, where some say the same as others of their share: one of them is ranked

_BY_MEANING = """
SELECT {columns}, 1 - (e.embedding::halfvec({dimensions}) <=> $2::text::halfvec({dimensions})) AS rank
  FROM embeddings e JOIN chunks c ON c.model = e.model AND c.content_hash = e.content_hash {seen}
 WHERE e.model = {model} AND e.dimensions = {dimensions} {filters}
 ORDER BY e.embedding::halfvec({dimensions}) <=> $2::text::halfvec({dimensions}) LIMIT $3
"""
# The same of all that may be seen, one by one: for vectors that no index takes, and where its walk ended too early.
_ONE_BY_ONE = """
SELECT * FROM (
  SELECT DISTINCT ON (s.share_id, c.content_hash) {columns}, 1 - (e.embedding <=> $2::text::halfvec) AS rank
    FROM chunks c JOIN embeddings e ON c.model = e.model AND c.content_hash = e.content_hash {seen}
   WHERE e.model = {model} AND e.dimensions = {dimensions} {filters}
   ORDER BY s.share_id, c.content_hash, c.chunk_no
) AS passages
 WHERE rank > 0 AND rank < 'NaN'  -- which PostgreSQL sorts above every number
 ORDER BY rank DESC, share_id, content_hash LIMIT $3
"""
# Compared one by one: of each share there is one.
_SHARES = """
SELECT s.share_id FROM work_vectors v {mine}
 WHERE v.embedding_type = 'composite' AND v.model = {model} AND v.dimensions = {dimensions} {filters}
 ORDER BY v.embedding <=> $2::text::halfvec, s.share_id LIMIT $3
"""
# Chosen by the rarest words, ranked by all of them: a word counts more the rarer it is, less the more often it was
# said before, and less in a longer passage, as in BM25. There is a row in any case, for what it says was looked at.
_BY_WORDS = """
WITH matching AS MATERIALIZED (
  SELECT s.share_id, c.content_hash, c.work_key, c.chunk_no, c.words
    FROM chunks c {seen} WHERE c.words @@ $2::text::tsquery {filters} LIMIT $6
), found AS MATERIALIZED (
  SELECT DISTINCT ON (share_id, content_hash) * FROM matching LIMIT $8
), terms AS MATERIALIZED (
  SELECT term::tsquery, weight FROM unnest($3::text[], $4::float8[]) AS asked (term, weight)
), best AS MATERIALIZED (
  SELECT share_id, work_key, chunk_no, rank
    FROM found CROSS JOIN LATERAL (
           SELECT coalesce(sum(weight * ts_rank(words, term, 1)), 0) AS rank,
                  coalesce(sum(weight) FILTER (WHERE words @@ term), 0) AS worth
             FROM terms
         ) AS ranked
   WHERE worth >= $7 ORDER BY rank DESC, share_id, content_hash LIMIT $5
), passages AS (
  SELECT {columns}, rank
    FROM best JOIN shares s USING (share_id)
    JOIN chunks c ON c.work_key = best.work_key AND c.embedding_type = 'content' AND c.chunk_no = best.chunk_no
)
SELECT looked.at, passages.*
  FROM (SELECT count(*) AS at FROM matching) AS looked LEFT JOIN passages ON true
 ORDER BY rank DESC, share_id, content_hash
"""
_LEXEMES = """
SELECT websearch_to_tsquery('simple', $1)::text AS asked,
       array(SELECT lexeme FROM unnest(to_tsvector('simple', $1))) AS lexemes
"""
# PostgreSQL keeps the thousand most common words of a sample, with the share of passages that have them.
_FREQUENCIES = """
SELECT s.most_common_elems::text::text[] AS words, s.most_common_elem_freqs AS shares,
       greatest(c.reltuples, 0)::bigint AS passages
  FROM pg_class c LEFT JOIN pg_stats s ON s.schemaname = c.relnamespace::regnamespace::text
       AND s.tablename = 'chunks' AND s.attname = 'words'
 WHERE c.oid = 'chunks'::regclass
"""
_FREQUENCIES_S = 60.0
# Every transaction with an id below the mark had ended, and is in what the next snapshot sees.
_CHANGED = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS mark,
       EXISTS (SELECT FROM search_changes WHERE owner = $1 AND changed >= $2::text::xid8) AS changed
"""
_FORGET = """
DELETE FROM search_changes
 WHERE ctid = ANY(ARRAY(SELECT ctid FROM search_changes WHERE at < now() - interval '1 hour' LIMIT 10000))
"""
_FORGET_S = 600.0
_MIDDLE = f"""
SELECT avg(e.embedding)::text
  FROM chunks c JOIN embeddings e ON c.model = e.model AND c.content_hash = e.content_hash {_SEEN}
 WHERE e.model = $2 AND s.share_id = $3
"""  # noqa: S608 - constants of this module; values are parameters


@dataclass(frozen=True)
class Passage:
    """A chunk of a share. `rank` is the cosine similarity, or the rank by words; moments in milliseconds."""

    share_id: str
    title: str | None
    url: str | None
    content_hash: str
    text: str
    start_ms: int | None
    end_ms: int | None
    rank: float

    @property
    def key(self) -> tuple[str, str]:
        """What makes two passages the same answer."""
        return self.share_id, self.content_hash


class TookTooLong(MillraceError):
    """PostgreSQL has ended a search at its time limit."""


class Passages:
    """Reads chunks for one owner at a time.

    :param pool: opened with `SEARCH_SETTINGS`.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._frequencies = Frequencies({}, 0)
        self._read_at: float | None = None
        self._forgot_at: float | None = None

    async def changed(self, owner: str, since: str | None) -> tuple[str, bool]:
        """A mark of what there is, and whether what the owner may find has changed since an earlier one.

        What was committed since the mark was made counts as a change, and some that was committed before does, too.

        :raises TookTooLong: as the others.
        """
        if self._forgot_at is None or time.monotonic() - self._forgot_at > _FORGET_S:
            self._forgot_at = time.monotonic()
            with contextlib.suppress(TookTooLong):  # it is nobody's search
                await self._rows(_FORGET)
        (row,) = await self._rows(_CHANGED, owner, since)
        return row["mark"], row["changed"]

    async def models(self, owner: str) -> list[str]:
        """The models that are needed to search all of the owner's shares by meaning, the preferred one first."""
        return [row["model"] for row in await self._rows(_MODELS, owner)]

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
        """The nearest chunks that this model embedded, nearest first; none at a right angle or beyond.

        :param is_one_of_several: others are asked for the same answer, for the shares that are searched by them.
        :raises TookTooLong: and `by_words`, too.
        """
        numbers = halfvec(vector)
        chosen, values = filters.sql(first=4)
        if is_one_of_several:
            chosen = f"{chosen} {_ITS_OWN}"
        sizes = {"dimensions": len(vector), "model": literal(model), "filters": chosen}
        found: list[Passage] = []
        if len(vector) <= MOST_DIMENSIONS:
            sql = _BY_MEANING.format(columns=_COLUMNS, seen=_SEEN, **sizes)
            rows = await self._rows(sql, owner, numbers, limit * _MORE, *values)
            found = [one for one in _once(rows) if one.rank > 0][:limit]
        if len(found) < limit:
            sql = _ONE_BY_ONE.format(columns=_COLUMNS, seen=_SEEN, **sizes)
            found = _once(await self._rows(sql, owner, numbers, limit, *values))
        return found

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
        """The shares that are nearest as a whole, by the vector that stands for each, nearest first.

        :raises TookTooLong: as the others.
        """
        chosen, values = filters.sql(first=4)
        if is_one_of_several:
            chosen = f"{chosen} {_ITS_OWN}"
        sql = _SHARES.format(mine=_MINE.format(of="v"), model=literal(model), dimensions=len(vector), filters=chosen)
        return [row["share_id"] for row in await self._rows(sql, owner, halfvec(vector), limit, *values)]

    async def middle(self, owner: str, model: str, share_id: str) -> list[float] | None:
        """The mean of a share's vectors; None where it has none, or is somebody else's."""
        ((found,),) = await self._rows(_MIDDLE, owner, model, share_id)
        return None if found is None else [float(number) for number in found.strip("[]").split(",")]

    async def by_words(
        self, owner: str, query: str, limit: int, filters: Filters, *, least_share: float
    ) -> list[Passage]:
        """Chunks that hold some of the words; or what is asked for in web search syntax.

        That is quoted phrases, `or`, and `-` for words to leave out.

        :param least_share: of the worth of the words that a chunk must hold, 0 to 1.
        """
        words = await self._wanted(query, least_share)
        if words is None:
            return []
        chosen, values = filters.sql(first=9)
        sql = _BY_WORDS.format(columns=_COLUMNS, seen=_SEEN_BY_WORDS, filters=chosen)
        terms, weights = list(words.weights), list(words.weights.values())
        # Reading what matches is what takes its time, and few passages are repeats.
        for most in (words.most, words.most * _MOST_LOOKED_AT):
            bounds = limit, most, words.least, words.most
            rows = await self._rows(sql, owner, words.query, terms, weights, *bounds, *values)
            found = [row for row in rows if row["share_id"] is not None]
            if len(found) >= limit or rows[0]["at"] < most:
                break
        return _once(found)

    async def worth(self, words: set[str]) -> dict[str, float]:
        """What each word says about a passage, 0 and up: the rarer it is, the more."""
        common = await self._common()
        return {word: weight(common.of(word)) for word in words}

    async def _rows(self, sql: str, *values: object) -> list[asyncpg.Record]:
        try:
            return await self._pool.fetch(sql, *values)
        except asyncpg.QueryCanceledError as exc:
            raise TookTooLong("PostgreSQL has ended a search at its time limit") from exc

    async def _wanted(self, query: str, least_share: float) -> Wanted | None:
        asked = await self._pool.fetchrow(_LEXEMES, query)
        if asked is None:
            raise AssertionError("a SELECT without FROM has a row")
        return wanted(query, asked["asked"], asked["lexemes"], await self._common(), least_share=least_share)

    async def _common(self) -> Frequencies:
        if self._read_at is None or time.monotonic() - self._read_at > _FREQUENCIES_S:
            row = await self._pool.fetchrow(_FREQUENCIES)
            if row is not None:
                # Behind the words' shares PostgreSQL keeps the least, the greatest, and that of NULL.
                shares = dict(zip(row["words"] or [], row["shares"] or [], strict=False))
                self._frequencies = Frequencies(shares, row["passages"])
            self._read_at = time.monotonic()
        return self._frequencies


def _once(rows: Sequence[asyncpg.Record]) -> list[Passage]:
    """Best first, each passage of a share once. The index gives its neighbours nearly in order."""
    passages: dict[tuple[str, str], Passage] = {}
    for row in sorted(rows, key=lambda row: (-row["rank"], row["share_id"], row["content_hash"])):
        known = {name: value for name, value in row.items() if name != "at"}
        passages.setdefault((row["share_id"], row["content_hash"]), Passage(**known))
    return list(passages.values())
