"""Vectors in PostgreSQL: tables `embeddings`, `chunks` and `work_vectors`."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.ids import WorkKey
from millrace.store.database import Connection, Database
from millrace.store.vectors import halfvec
from services.embed_agent.domain import COMPOSITE, SUMMARY_WEIGHT
from services.embed_agent.ports import Vectors

# One writer of a piece of work at a time, should two believe that they hold it. Not the work's own row: its lease is
# renewed meanwhile.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_DELETE = "DELETE FROM chunks WHERE work_key = $1"
_INSERT = """
INSERT INTO chunks (work_key, chunk_no, embedding_type, model, content_hash, text, start_ms, end_ms, tokens)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
# In the order of the hashes everywhere: two who keep the same texts do not wait for each other in a circle.
_KEEP = """
INSERT INTO embeddings (model, content_hash, dimensions, embedding) VALUES ($1, $2, $3, $4::text::halfvec)
ON CONFLICT (model, content_hash) DO UPDATE
   SET dimensions = excluded.dimensions, embedding = excluded.embedding, embedded_at = now()
"""
# The weighted mean of the summary's vector and the mean of the passages', or that alone.
_COMPOSE = """
INSERT INTO work_vectors (work_key, embedding_type, model, dimensions, embedding)
SELECT $1, $2, model, dimensions, l2_normalize(CASE WHEN summary IS NULL THEN content ELSE
         array_fill($3::float8, ARRAY[dimensions])::halfvec * summary
         + array_fill(1 - $3::float8, ARRAY[dimensions])::halfvec * content END)
  FROM (SELECT c.model, e.dimensions, count(*) AS texts,
               avg(e.embedding) FILTER (WHERE c.embedding_type = 'content') AS content,
               avg(e.embedding) FILTER (WHERE c.embedding_type = 'summary') AS summary
          FROM chunks c JOIN embeddings e ON e.model = c.model AND e.content_hash = c.content_hash
         WHERE c.work_key = $1 GROUP BY c.model, e.dimensions) AS parts
 WHERE content IS NOT NULL ORDER BY texts DESC LIMIT 1  -- a model may have given shorter ones before
ON CONFLICT (work_key, embedding_type) DO UPDATE
   SET model = excluded.model, dimensions = excluded.dimensions, embedding = excluded.embedding
"""
_MODEL = "INSERT INTO embedding_models (model, dimensions) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_KNOWN = "SELECT content_hash, dimensions FROM embeddings WHERE model = $1 AND content_hash = ANY($2)"


async def compose(connection: Connection, work_key: str, summary_weight: float = SUMMARY_WEIGHT) -> None:
    """Make the vector that stands for all of a piece of work, of those of its chunks, within a transaction."""
    await connection.execute(_COMPOSE, work_key, COMPOSITE, summary_weight)


class PgVectorStore:
    """Implements `VectorStore`; the core has inserted the work's own row before."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def known(self, model: str, hashes: Sequence[str]) -> dict[str, int]:
        """One query."""
        return {row["content_hash"]: row["dimensions"] for row in await self._db.fetch(_KNOWN, model, hashes)}

    async def replace(self, work_key: WorkKey, vectors: Vectors) -> None:
        """Delete and insert in one transaction, so that a repeat changes nothing and a reader sees all or none."""
        new = [
            (vectors.model, name, len(vector), halfvec(vector)) for name, vector in sorted(vectors.vectors.items())
        ]
        rows = [
            (
                work_key,
                number,
                chunk.embedding_type,
                vectors.model,
                chunk.content_hash,
                chunk.text,
                chunk.start_ms,
                chunk.end_ms,
                chunk.tokens,
            )
            for number, chunk in enumerate(vectors.chunks)
        ]

        async def body(connection: Connection) -> None:
            await connection.execute(_LOCK, work_key)
            await connection.executemany(_MODEL, sorted({(row[0], row[2]) for row in new}))
            await connection.executemany(_KEEP, new)
            await connection.execute(_DELETE, work_key)
            await connection.executemany(_INSERT, rows)
            await compose(connection, work_key)

        await self._db.transaction(body)
