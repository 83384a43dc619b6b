"""Passages of shares in PostgreSQL, by meaning (pgvector) and by words (full text); owners see their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

# A chunk belongs to work, which many shares may need: the share comes in by its finished embed job. The same words
# chunked in two ways have one content hash and are answered once.
_COLUMNS = "s.share_id, s.title, s.url, c.content_hash, c.text, c.start_ms, c.end_ms"
_SEEN = """
  chunks c
  JOIN jobs j ON j.work_key = c.work_key AND j.stage = 'embed' AND j.state = 'done'
  JOIN shares s ON s.share_id = j.share_id AND s.owner = $1
"""

# An exact scan: vectors of other models have other dimensions and never meet the query. The cosine of a vector
# without length is NaN, which PostgreSQL sorts above every number.
_BY_MEANING = f"""
SELECT * FROM (
  SELECT DISTINCT ON (s.share_id, c.content_hash) {_COLUMNS}, 1 - (c.embedding <=> $3::text::vector) AS rank
    FROM {_SEEN}
   WHERE c.model = $2 AND vector_dims(c.embedding) = vector_dims($3::text::vector)
   ORDER BY s.share_id, c.content_hash, c.chunk_no
) AS passages WHERE rank > 0 AND rank < 'NaN' ORDER BY rank DESC, share_id, content_hash LIMIT $4
"""  # noqa: S608 - constants of this module; values are parameters
_BY_WORDS = f"""
SELECT * FROM (
  SELECT DISTINCT ON (s.share_id, c.content_hash) {_COLUMNS}, ts_rank_cd(c.words, query) AS rank
    FROM {_SEEN} CROSS JOIN (
      SELECT CASE WHEN $4 AND asked::text NOT LIKE '%!%' THEN replace(asked::text, ' & ', ' | ')::tsquery
                  ELSE asked END AS query
        FROM websearch_to_tsquery('simple', $2) AS asked
    ) AS wanted
   WHERE c.words @@ query
   ORDER BY s.share_id, c.content_hash, c.chunk_no
) AS passages ORDER BY rank DESC, share_id, content_hash LIMIT $3
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


class Passages:
    """Reads chunks for one owner at a time."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def by_meaning(self, owner: str, model: str, vector: Sequence[float], limit: int) -> list[Passage]:
        """The nearest chunks that this model embedded, nearest first; none at a right angle or beyond."""
        literal = f"[{','.join(map(str, vector))}]"
        return [Passage(**dict(row)) for row in await self._pool.fetch(_BY_MEANING, owner, model, literal, limit)]

    async def by_words(self, owner: str, query: str, limit: int, *, any_word: bool = False) -> list[Passage]:
        """Chunks that hold the words, in web search syntax: quoted phrases, `or`, and `-` for words to leave out.

        :param any_word: one of the words is enough, unless some shall be left out.
        """
        return [Passage(**dict(row)) for row in await self._pool.fetch(_BY_WORDS, owner, query, limit, any_word)]
