"""Vectors in PostgreSQL: tables `embeddings` and `chunks`."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import asyncpg

from millrace.ids import WorkKey
from millrace.store.database import Connection, Database
from millrace.store.vectors import MOST_DIMENSIONS, ensure_index
from services.embed_agent.ports import Vectors

log = logging.getLogger(__name__)

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
_KNOWN = "SELECT content_hash, dimensions FROM embeddings WHERE model = $1 AND content_hash = ANY($2)"


class PgVectorStore:
    """Implements `VectorStore`; the core has inserted the work's own row before."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._indexed: set[tuple[str, int]] = set()

    async def known(self, model: str, hashes: Sequence[str]) -> dict[str, int]:
        """One query."""
        return {row["content_hash"]: row["dimensions"] for row in await self._db.fetch(_KNOWN, model, hashes)}

    async def replace(self, work_key: WorkKey, vectors: Vectors) -> None:
        """Delete and insert in one transaction, so that a repeat changes nothing and a reader sees all or none."""
        new = [
            (vectors.model, name, len(vector), _literal(vector)) for name, vector in sorted(vectors.vectors.items())
        ]
        for dimensions in {row[2] for row in new}:
            await self._index(vectors.model, dimensions)
        rows = [
            (
                work_key,
                number,
                vectors.embedding_type,
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
            await connection.executemany(_KEEP, new)
            await connection.execute(_DELETE, work_key)
            await connection.executemany(_INSERT, rows)

        await self._db.transaction(body)

    async def _index(self, model: str, dimensions: int) -> None:
        """Once for each model; vectors without an index are found all the same, only slower."""
        if (model, dimensions) in self._indexed:
            return
        try:
            async with self._db.pool.acquire() as connection:
                if await ensure_index(connection, model, dimensions) or dimensions > MOST_DIMENSIONS:
                    self._indexed.add((model, dimensions))
        except asyncpg.InsufficientPrivilegeError:
            self._indexed.add((model, dimensions))
            log.warning("no index of %s's vectors: this role may not make one (millrace search index)", model)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            log.warning("no index of %s's vectors yet (%s)", model, type(exc).__name__)


def _literal(vector: Sequence[float]) -> str:
    # As text: any connection takes it, without pgvector's codec. Of length 1, so that no number is beyond a half
    # float; a vector without a direction stays what it is, and is found by nothing.
    length = math.sqrt(math.fsum(number * number for number in vector))
    return "[" + ",".join(f"{number / length if length else 0.0:.6g}" for number in vector) + "]"
