"""Indexes of models' vectors, which PostgreSQL searches instead of comparing all of them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

log = logging.getLogger(__name__)
# Generic in its stubs alone.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

MOST_DIMENSIONS = 4_000
"""Of an index over half floats (pgvector); longer vectors are compared one by one."""
_A_DAY_S: Final = 86_400.0  # the pool's own limit, which None stands for, is a minute
# Advisory lock; not waited for: the one that makes an index would wait for the waiting.
_ONE_AT_A_TIME = 7_215_330_119

_MODELS = "SELECT model, dimensions FROM embedding_models ORDER BY model, dimensions"
_STATE = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
# The links of a vector, and among how many they are chosen: twice pgvector's default, for half as many neighbours
# missed. 100,000 vectors of 256 dimensions take 26 s and 830 bytes each (python -m benchmarks.search).
_CREATE = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON embeddings
 USING hnsw ((embedding::halfvec({dimensions})) halfvec_cosine_ops) WITH (m = 16, ef_construction = 128)
 WHERE model = {model} AND dimensions = {dimensions}
"""


def literal(text: str) -> str:
    """A text inside SQL: a partial index is used where its condition is written out, and not for a parameter.

    :raises ValueError: no text of PostgreSQL holds it.
    """
    if "\0" in text:
        raise ValueError("PostgreSQL keeps no NUL")
    return "'" + text.replace("'", "''") + "'"


def halfvec(vector: Sequence[float]) -> str:
    """A vector as PostgreSQL reads it, of length 1, so that no number is beyond a half float.

    One without a direction stays what it is: its cosine to any other is no number. Any connection takes the text,
    without pgvector's codec.
    """
    length = math.sqrt(math.fsum(number * number for number in vector))
    return "[" + ",".join(f"{number / length if length else 0.0:.6g}" for number in vector) + "]"


def index_name(model: str, dimensions: int) -> str:
    """Short enough for PostgreSQL, whatever models are called."""
    return "embeddings_" + hashlib.sha256(f"{dimensions}/{model}".encode()).hexdigest()[:16]


async def ensure_index(connection: Connection, model: str, dimensions: int) -> bool:
    """Make the index of a model's vectors unless it is there; False where there can be none, or somebody makes one.

    It is made beside other writers, and anew where an earlier attempt was cut off.

    :raises asyncpg.InsufficientPrivilegeError: this role may not make one.
    """
    if dimensions > MOST_DIMENSIONS:
        return False
    name = index_name(model, dimensions)
    if await connection.fetchval(_STATE, name):
        return True
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _ONE_AT_A_TIME):
        return False
    try:
        if await connection.fetchval(_STATE, name) is False:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}", timeout=_A_DAY_S)
        create = _CREATE.format(name=name, model=literal(model), dimensions=int(dimensions))
        await connection.execute(create, timeout=_A_DAY_S)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _ONE_AT_A_TIME)
    return True


async def drop_indexes(connection: Connection, model: str) -> None:
    """Forget the indexes of a model that has no vectors any more, beside all other work."""
    sizes = await connection.fetch("DELETE FROM embedding_models WHERE model = $1 RETURNING dimensions", model)
    for row in sizes:
        sql = f"DROP INDEX CONCURRENTLY IF EXISTS {index_name(model, row['dimensions'])}"
        await connection.execute(sql, timeout=_A_DAY_S)


@asynccontextmanager
async def keeping_indexes(dsn: str, *, every_s: float = 30.0) -> AsyncIterator[None]:
    """While it is open, each model that has vectors gets its index, beside all other work.

    On a connection of its own: who dies or is stopped in the middle leaves no lock, and the next one begins anew.
    """
    task = asyncio.create_task(_keep_indexes(dsn, every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _keep_indexes(dsn: str, every_s: float) -> None:
    while True:
        try:
            await _index_all(dsn)
        except asyncpg.InsufficientPrivilegeError:
            log.warning(
                "this role of PostgreSQL may not index vectors: give it the table embeddings, or search is slow"
            )
            return
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            log.warning("vectors could not be indexed (%s); trying again in %.0f s", type(exc).__name__, every_s)
        await asyncio.sleep(every_s)


async def _index_all(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for model, dimensions in await connection.fetch(_MODELS):
            # Looked at each time: a model that was dropped may come back.
            await ensure_index(connection, model, dimensions)
    finally:
        # Not close(), which would wait for a statement that is under way.
        connection.terminate()
