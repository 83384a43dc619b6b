"""The PostgreSQL pool, with JSON as Python values; and which database errors mean "wait and try again"."""

from __future__ import annotations

import json
import re
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
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InternalClientError,
)
"""The database is away, stopping, full, a standby, refuses us or had to break a deadlock: nobody's job has failed."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def to_jsonb(value: object) -> str:
    """JSON that PostgreSQL takes, whatever a model has answered: it refuses NUL and half a surrogate pair in a text,
    and an answer that was paid for must not be lost for that. They become U+FFFD.
    """
    return json.dumps(_storable(value))


def _storable(value: object) -> object:
    match value:
        case str():
            return _UNSTORABLE.sub("\ufffd", value)
        case dict():
            return {_storable(name): _storable(item) for name, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
    return value


async def _prepare(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=to_jsonb, decoder=json.loads)


class _Connection(asyncpg.Connection):
    """Needs no statement of its own before others may have it: nobody here changes what a reset would undo.

    Sessions have no settings, cursors or advisory locks of their own; who listens keeps a connection for itself.
    """

    def get_reset_query(self) -> str:
        """None."""
        return ""


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
            connection_class=_Connection,
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
