"""Vectors in PostgreSQL: tables `embeddings`, `chunks` and `work_vectors`."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.ids import WorkKey
from millrace.store.database import Connection, Database
from millrace.store.vectors import halfvec
from services.embed_agent.batches import Batch, unpacked
from services.embed_agent.domain import COMPOSITE, SUMMARY_WEIGHT, Chunk

# One writer of a piece of work at a time, should two believe that they hold it. Not the work's own row: its lease is
# renewed meanwhile.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_DELETE = "DELETE FROM chunks WHERE work_key = $1"
_INSERT = """
INSERT INTO chunks (work_key, chunk_no, embedding_type, model, content_hash, text, start_ms, end_ms, tokens)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
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
_BOUGHT_FOR = """
SELECT content_hash, dimensions FROM embeddings JOIN pending_texts USING (model, content_hash)
 WHERE model = $1 AND content_hash = ANY($2) AND work_key = $3 AND bought_at IS NOT NULL
"""


VectorRows = Sequence[tuple[str, str, int, str]]
"""Model, content hash, dimensions, vector."""


def vector_rows(model: str, batch: Batch) -> VectorRows:
    """A batch's vectors as they are written."""
    # In the order of the hashes everywhere: two who keep the same texts do not wait for each other in a circle.
    return [(model, name, len(vector), halfvec(vector)) for name, vector in sorted(unpacked(batch).items())]


async def keep_vectors(connection: Connection, model: str, rows: VectorRows) -> None:
    """Keep vectors within a transaction."""
    await connection.executemany(_MODEL, sorted({(model, row[2]) for row in rows}))
    await connection.executemany(_KEEP, rows)


async def compose(connection: Connection, work_key: str, summary_weight: float = SUMMARY_WEIGHT) -> None:
    """Make the vector that stands for all of a piece of work, of those of its chunks, within a transaction."""
    await connection.execute(_COMPOSE, work_key, COMPOSITE, summary_weight)


class PgVectorStore:
    """Implements `VectorStore`; the core has inserted the work's own row before."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def known(self, model: str, hashes: Sequence[str], *, bought_for: WorkKey | None = None) -> dict[str, int]:
        """One query."""
        if bought_for is None:
            rows = await self._db.fetch(_KNOWN, model, hashes)
        else:
            rows = await self._db.fetch(_BOUGHT_FOR, model, hashes, bought_for)
        return {row["content_hash"]: row["dimensions"] for row in rows}

    async def keep(self, model: str, batch: Batch) -> None:
        """One transaction."""
        rows = vector_rows(model, batch)
        await self._db.transaction(lambda connection: keep_vectors(connection, model, rows))

    async def replace(self, work_key: WorkKey, model: str, chunks: Sequence[Chunk]) -> None:
        """Delete and insert in one transaction, so that a repeat changes nothing and a reader sees all or none."""
        rows = [
            (
                work_key,
                number,
                chunk.embedding_type,
                model,
                chunk.content_hash,
                chunk.text,
                chunk.start_ms,
                chunk.end_ms,
                chunk.tokens,
            )
            for number, chunk in enumerate(chunks)
        ]

        async def body(connection: Connection) -> None:
            await connection.execute(_LOCK, work_key)
            await connection.execute(_DELETE, work_key)
            await connection.executemany(_INSERT, rows)
            await compose(connection, work_key)

        await self._db.transaction(body)
