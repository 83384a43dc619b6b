"""Vectors in PostgreSQL, table `chunks`."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.ids import WorkKey, content_hash
from millrace.store.database import Connection, Database
from services.embed_agent.ports import Vectors

# One writer of a piece of work at a time, should two believe that they hold it. Not the work's own row: its lease is
# renewed meanwhile.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_DELETE = "DELETE FROM chunks WHERE work_key = $1 AND embedding_type = $2"
_INSERT = """
INSERT INTO chunks
    (work_key, chunk_no, embedding_type, model, content_hash, text, start_ms, end_ms, tokens, embedding)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::vector)
"""


class PgVectorStore:
    """Implements `VectorStore`; the core has inserted the work's own row before."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def replace(self, work_key: WorkKey, vectors: Vectors) -> None:
        """Delete and insert in one transaction, so that a repeat changes nothing and a reader sees all or none."""
        rows = [
            (
                work_key,
                number,
                vectors.embedding_type,
                vectors.model,
                content_hash(chunk.text),
                chunk.text,
                chunk.start_ms,
                chunk.end_ms,
                chunk.tokens,
                _literal(vector),
            )
            for number, (chunk, vector) in enumerate(zip(vectors.chunks, vectors.vectors, strict=True))
        ]

        async def body(connection: Connection) -> None:
            await connection.execute(_LOCK, work_key)
            await connection.execute(_DELETE, work_key, vectors.embedding_type)
            await connection.executemany(_INSERT, rows)

        await self._db.transaction(body)


def _literal(vector: Sequence[float]) -> str:
    # As text: any connection takes it, without pgvector's codec. Nine digits give a 32-bit float back exactly.
    return "[" + ",".join(f"{number:.9g}" for number in vector) + "]"
