"""Vectors in PostgreSQL: tables `embeddings` and `chunks`."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.ids import WorkKey
from millrace.store.database import Connection, Database
from millrace.store.vectors import halfvec
from services.embed_agent.batches import Batch, unpacked
from services.embed_agent.domain import Chunk

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
_MODEL = "INSERT INTO embedding_models (model, dimensions) VALUES ($1, $2) ON CONFLICT DO NOTHING"
_KNOWN = "SELECT content_hash, dimensions FROM embeddings WHERE model = $1 AND content_hash = ANY($2)"
_BOUGHT_FOR = """
SELECT content_hash, dimensions FROM embeddings JOIN pending_texts USING (model, content_hash)
 WHERE model = $1 AND content_hash = ANY($2) AND work_key = $3 AND bought_at IS NOT NULL
"""


async def keep_vectors(connection: Connection, model: str, batch: Batch) -> None:
    """Keep a batch's vectors within a transaction."""
    # In the order of the hashes everywhere: two who keep the same texts do not wait for each other in a circle.
    rows = [(model, name, len(vector), halfvec(vector)) for name, vector in sorted(unpacked(batch).items())]
    await connection.execute(_MODEL, model, batch.dimensions)
    await connection.executemany(_KEEP, rows)


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
        await self._db.transaction(lambda connection: keep_vectors(connection, model, batch))

    async def replace(self, work_key: WorkKey, embedding_type: str, model: str, chunks: Sequence[Chunk]) -> None:
        """Delete and insert in one transaction, so that a repeat changes nothing and a reader sees all or none."""
        rows = [
            (
                work_key,
                number,
                embedding_type,
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

        await self._db.transaction(body)
