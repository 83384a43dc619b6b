"""The index of a model's vectors, which PostgreSQL searches instead of comparing all of them."""

from __future__ import annotations

import hashlib

from millrace.store.database import Connection

MOST_DIMENSIONS = 4_000
"""Of an index over half floats (pgvector); longer vectors are compared one by one."""
_ONE_AT_A_TIME = (
    7_215_330_119  # advisory lock; not waited for: the one that makes an index would wait for the waiting
)

_STATE = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"
# The links of a vector, and how widely they are chosen: pgvector's defaults. 100,000 vectors of 256 dimensions take
# 27 s and 800 bytes each, and 97 of the 100 nearest are found (python -m benchmarks.search).
_CREATE = """
CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON embeddings
 USING hnsw ((embedding::halfvec({dimensions})) halfvec_cosine_ops) WITH (m = 16, ef_construction = 64)
 WHERE model = {model} AND dimensions = {dimensions}
"""


def literal(text: str) -> str:
    """A text inside SQL: a partial index is used where its condition is written out, and not for a parameter.

    :raises ValueError: no text of PostgreSQL holds it.
    """
    if "\0" in text:
        raise ValueError("PostgreSQL keeps no NUL")
    return "'" + text.replace("'", "''") + "'"


def index_name(model: str, dimensions: int) -> str:
    """Short enough for PostgreSQL, whatever models are called."""
    return "embeddings_" + hashlib.sha256(f"{dimensions}/{model}".encode()).hexdigest()[:16]


async def ensure_index(connection: Connection, model: str, dimensions: int) -> bool:
    """Make the index of a model's vectors unless it is there; False where there can be none, or somebody makes one.

    It is made beside other writers, and anew where an earlier attempt was cut off. Best before the model's first
    vector: then it takes no time.

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
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        create = _CREATE.format(name=name, model=literal(model), dimensions=int(dimensions))
        await connection.execute(create, timeout=None)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", _ONE_AT_A_TIME)
    return True
