"""The PostgreSQL pool, with JSON as Python values; and which database errors mean "wait and try again"."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from millrace.errors import Unavailable

OUTAGES: tuple[type[BaseException], ...] = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
)
"""The database is away, stopping, full or had to break a deadlock: nobody's job has failed."""


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


@asynccontextmanager
async def open_pool(dsn: str, *, size: int = 8) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """A pool of up to `size` connections; jsonb columns take and give Python values.

    :raises Unavailable: the database does not answer; the text holds no password.
    """
    try:
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_prepare,
            timeout=10,
            command_timeout=60,
            server_settings={"timezone": "UTC"},
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as exc:
        raise Unavailable(f"PostgreSQL does not answer ({type(exc).__name__}); is it running?") from exc
    try:
        yield pool
    finally:
        await pool.close()
