"""Shares of an owner that say nearly the same, by their words and by their vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final

import asyncpg

from millrace.contracts.insight_api import AlikeBy, Duplicate, DuplicatesAnswer
from millrace.models.port import EmbeddingModel
from millrace.signature import NUMBERS
from millrace.text import has_nul
from services.api_gateway.errors import NotFound

LEAST_JACCARD: Final = 0.4
"""No two documents of benchmarks/judged come near it; copies with a changed sentence, or cut to two thirds, mostly do
(docs/intelligence.md)."""
LEAST_COSINE: Final = 0.75
"""With the bundled model the nearest two documents of benchmarks/judged have 0.74; others draw the line elsewhere."""

# Whose share it is stands in every query; a job that was skipped has words, too.
_OWN: Final = """
SELECT j.work_key, i.version, i.signature, i.bands
  FROM shares s LEFT JOIN jobs j ON j.share_id = s.share_id AND j.stage = 'embed' AND j.state IN ('done', 'skipped')
  LEFT JOIN insights i ON i.work_key = j.work_key
 WHERE s.share_id = $2 AND s.owner = $1
"""
_BY_CONTENT: Final = f"""
SELECT * FROM (
  SELECT s.share_id, s.title, s.url, s.created_at,
         (SELECT count(*) FROM unnest(i.signature, $4::integer[]) AS pair (his, mine) WHERE his = mine)::float8
           / {NUMBERS} AS alike
    FROM insights i JOIN jobs j ON j.work_key = i.work_key AND j.stage = 'embed' AND j.state IN ('done', 'skipped')
    JOIN shares s ON s.share_id = j.share_id AND s.owner = $1
   WHERE i.bands && $3::integer[] AND i.version = $5 AND s.share_id <> $2
) AS candidates WHERE alike >= $6 ORDER BY alike DESC, created_at DESC, share_id LIMIT $7
"""  # noqa: S608 - a constant of another module; values are parameters
# All of the owner's shares are compared: means are made as they are asked for, so that none is ever out of date.
_BY_VECTOR: Final = """
WITH means AS MATERIALIZED (
  SELECT s.share_id, s.title, s.url, s.created_at, avg(e.embedding) AS mean
    FROM shares s JOIN jobs j ON j.share_id = s.share_id AND j.stage = 'embed' AND j.state = 'done'
    JOIN chunks c ON c.work_key = j.work_key AND c.embedding_type = 'content'
    JOIN embeddings e ON e.model = c.model AND e.content_hash = c.content_hash
   WHERE s.owner = $1 AND e.model = $3
     AND e.dimensions = (SELECT max(e.dimensions) FROM chunks c JOIN embeddings e
                           ON e.model = c.model AND e.content_hash = c.content_hash
                          WHERE c.work_key = $4 AND c.model = $3)
   GROUP BY s.share_id
)
SELECT * FROM (
  SELECT other.share_id, other.title, other.url, other.created_at, 1 - (other.mean <=> own.mean) AS alike
    FROM means own JOIN means other ON other.share_id <> own.share_id WHERE own.share_id = $2
) AS candidates WHERE alike >= $5 AND alike < 'NaN'  -- which PostgreSQL sorts above every number
 ORDER BY alike DESC, created_at DESC, share_id LIMIT $6
"""


class DuplicateDesk:
    """Compares one share of an owner with all others.

    :param pool: opened with `SEARCH_SETTINGS`, whose limit of time holds for each of the two comparisons.
    :param model: whose vectors are compared.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], model: EmbeddingModel) -> None:
        self._pool = pool
        self._model = model

    async def of(
        self,
        share_id: str,
        *,
        owner: str,
        limit: int,
        least_jaccard: float = LEAST_JACCARD,
        least_cosine: float = LEAST_COSINE,
    ) -> DuplicatesAnswer:
        """The `limit` shares that are most alike.

        :raises NotFound: there is no such share, or it is somebody else's.
        """
        own = None if has_nul(share_id) else await self._pool.fetchrow(_OWN, owner, share_id)
        if own is None:
            raise NotFound("There is no share with this id.")
        content, vector = await asyncio.gather(
            _in_time(self._by_content(owner, share_id, own, least_jaccard, limit)),
            _in_time(self._by_vector(owner, share_id, own, least_cosine, limit)),
        )
        found = merged({"content": content or [], "vector": vector or []})[:limit]
        return DuplicatesAnswer(share_id=share_id, note=_note(own, content, vector), duplicates=found)

    async def _by_content(
        self, owner: str, share_id: str, own: asyncpg.Record, least: float, limit: int
    ) -> list[asyncpg.Record]:
        if own["signature"] is None:
            return []
        mine = own["bands"], own["signature"], own["version"]
        return await self._pool.fetch(_BY_CONTENT, owner, share_id, *mine, least, limit)

    async def _by_vector(
        self, owner: str, share_id: str, own: asyncpg.Record, least: float, limit: int
    ) -> list[asyncpg.Record]:
        if own["work_key"] is None:
            return []
        return await self._pool.fetch(_BY_VECTOR, owner, share_id, self._model.name, own["work_key"], least, limit)


def merged(found: dict[AlikeBy, Sequence[asyncpg.Record]]) -> list[Duplicate]:
    """Each share once, most alike first by whichever of the two is higher."""
    shares = {row["share_id"]: row for rows in found.values() for row in rows}
    alike = {by: {row["share_id"]: round(row["alike"], 3) for row in rows} for by, rows in found.items()}
    duplicates = [
        Duplicate(
            share_id=share_id,
            title=row["title"],
            url=row["url"],
            created_at=row["created_at"],
            jaccard=alike["content"].get(share_id),
            cosine=alike["vector"].get(share_id),
            by=[by for by in found if share_id in alike[by]],
        )
        for share_id, row in shares.items()
    ]
    return sorted(duplicates, key=lambda one: (-max(one.jaccard or 0.0, one.cosine or 0.0), one.share_id))


async def _in_time(rows: Awaitable[list[asyncpg.Record]]) -> list[asyncpg.Record] | None:
    try:
        return await rows
    except asyncpg.QueryCanceledError:
        return None


def _note(own: asyncpg.Record, content: object | None, vector: object | None) -> str | None:
    if own["work_key"] is None:
        return "This share's text is not there yet, so nothing could be compared."
    notes = []
    if own["version"] is None:
        notes.append("This share's words have not been looked at yet: ask again in a few seconds.")
    notes += [
        f"Comparing by {by} took too long." for by, rows in (("words", content), ("vectors", vector)) if rows is None
    ]
    return " ".join(notes) or None
