"""What a digest is made of, read from PostgreSQL: an owner's shares of a period with their mean vectors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

_TEXT: Final = 2_000  # characters of a text, and of a summary
_NEWEST: Final = f"""
WITH mine AS MATERIALIZED (
  SELECT s.share_id, coalesce(s.title, s.filename) AS title, s.url, s.tags, s.language, s.created_at, j.work_key
    FROM shares s JOIN jobs j ON j.share_id = s.share_id AND j.stage = 'embed' AND j.state = 'done'
   WHERE s.owner = $1 AND s.created_at >= $3 AND s.created_at < $4
     AND EXISTS (SELECT FROM chunks c WHERE c.work_key = j.work_key AND c.model = $2 AND c.embedding_type = 'content')
   ORDER BY s.created_at DESC, s.share_id LIMIT $5
)
SELECT m.share_id, m.title, m.url, m.created_at, v.mean, v.text, left(w.result ->> 'summary', {_TEXT}) AS summary,
       m.tags || array(SELECT jsonb_array_elements_text(coalesce(w.result -> 'tags', '[]'))) AS tags,
       coalesce(m.language, w.result ->> 'language', i.language) AS language
  FROM mine m CROSS JOIN LATERAL (
         SELECT avg(e.embedding)::text AS mean,
                left(coalesce(string_agg(c.text, ' ' ORDER BY c.chunk_no) FILTER (WHERE c.chunk_no < 3), ''),
                     {_TEXT}) AS text
           FROM chunks c JOIN embeddings e ON e.model = c.model AND e.content_hash = c.content_hash
          WHERE c.work_key = m.work_key AND c.model = $2 AND c.embedding_type = 'content'
       ) AS v
  LEFT JOIN jobs k ON k.share_id = m.share_id AND k.stage = 'summarize' AND k.state = 'done'
  LEFT JOIN work w ON w.work_key = k.work_key
  LEFT JOIN insights i ON i.work_key = m.work_key
 ORDER BY m.created_at DESC, m.share_id
"""  # noqa: S608 - a constant of this module; values are parameters
# Not embedded (yet), or by another model than the one in use.
_COUNT: Final = """
SELECT count(*) AS all, count(*) FILTER (WHERE NOT EXISTS (
         SELECT FROM jobs j JOIN chunks c ON c.work_key = j.work_key AND c.model = $2 AND c.embedding_type = 'content'
          WHERE j.share_id = s.share_id AND j.stage = 'embed' AND j.state = 'done')) AS without
  FROM shares s WHERE s.owner = $1 AND s.created_at >= $3 AND s.created_at < $4
"""
# Words that say nothing are those that PostgreSQL's own stemmers leave out; a word is looked up in all of them.
_STOP_WORDS: Final = """
SELECT DISTINCT word FROM unnest($1::text[]) AS asked (word), unnest($2::text[]) AS named (dictionary)
  JOIN pg_ts_dict d ON d.dictname = named.dictionary
 WHERE ts_lexize(d.oid::regdictionary, word) = '{}'
    OR (named.dictionary, word) = ('french_stem', 'les')  -- which its list has forgotten
"""
_DICTIONARIES: Final = {
    "da": "danish",
    "de": "german",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ru": "russian",
    "sv": "swedish",
    "tr": "turkish",
}


@dataclass(frozen=True)
class Row:
    """A share as a digest needs it; `mean` is a vector as PostgreSQL writes it, `language` a BCP 47 tag."""

    share_id: str
    title: str | None
    url: str | None
    created_at: datetime
    mean: str
    text: str
    summary: str | None
    tags: Sequence[str]
    language: str | None


@dataclass(frozen=True)
class Counts:
    """Shares of a period, and how many of them have no vectors of a model."""

    all: int
    without: int


class DigestRows:
    """Reads for one owner at a time.

    :param pool: opened with `SEARCH_SETTINGS`: a statement ends with `asyncpg.QueryCanceledError` at its limit.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def newest(self, owner: str, model: str, since: datetime, until: datetime, limit: int) -> list[Row]:
        """Shares with vectors of a model, newest first."""
        return [Row(**dict(row)) for row in await self._pool.fetch(_NEWEST, owner, model, since, until, limit)]

    async def counts(self, owner: str, model: str, since: datetime, until: datetime) -> Counts:
        """All shares of a period."""
        row = await self._pool.fetchrow(_COUNT, owner, model, since, until)
        if row is None:
            raise AssertionError("an aggregate has a row")
        return Counts(row["all"], row["without"])

    async def stop_words(self, words: Collection[str], languages: Collection[str | None]) -> set[str]:
        """Which of these words, in lower case, say nothing; texts of unknown languages are taken for English."""
        plain = {(language or "en").partition("-")[0].lower() for language in languages}
        named = [f"{_DICTIONARIES[one]}_stem" for one in plain if one in _DICTIONARIES]
        return {row["word"] for row in await self._pool.fetch(_STOP_WORDS, list(words), named)}
