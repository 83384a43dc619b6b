"""The PostgreSQL pool, with JSON as Python values; and which database errors mean "wait and try again"."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from millrace.errors import ConfigurationError, Unavailable

REFUSALS: tuple[type[asyncpg.PostgresError], ...] = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
"""The database answers and will not have us until somebody changes something; `refusal` says what."""

OUTAGES: tuple[type[BaseException], ...] = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
    *REFUSALS,
)
"""The database is away, stopping, full, a standby, refuses us or had to break a deadlock: nobody's job has failed."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_AWAY: tuple[type[BaseException], ...] = (*OUTAGES, asyncpg.PostgresError)
_CONNECT_S = 10
NO_URL = (
    "MILLRACE_POSTGRES is not the URL of a PostgreSQL database: write postgresql://user:password@host:port/database, "
    "with what is special in a URL percent-encoded (a / of the password is %2F)."
)


def refusal(error: asyncpg.PostgresError) -> str:
    """What to change, as a sentence, when PostgreSQL will not have us (`REFUSALS`)."""
    match error:
        case asyncpg.InvalidPasswordError():
            return "PostgreSQL refuses the password or the user of MILLRACE_POSTGRES: correct them there."
        case asyncpg.InvalidCatalogNameError():
            return "PostgreSQL has no database of the name in MILLRACE_POSTGRES: create it, or correct the name."
    return "PostgreSQL does not let the user of MILLRACE_POSTGRES in: correct it there, or allow it in pg_hba.conf."


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

    Sessions have no settings and cursors of their own. Who takes a session's advisory lock (the drainer of the
    outbox, the publisher of a replay) gives it back before the connection; who listens keeps one for itself.
    """

    def get_reset_query(self) -> str:
        """None."""
        return ""


@asynccontextmanager
async def open_pool(
    dsn: str, *, size: int = 8, settings: Mapping[str, str] | None = None
) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    """A pool of up to `size` connections; jsonb columns take and give Python values.

    :param settings: of PostgreSQL, for these connections.
    :raises ConfigurationError: the URL is none, or PostgreSQL refuses the user, the password or the database.
    :raises Unavailable: the database does not answer. No text holds the password.
    """
    with _connecting():
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_prepare,
            connection_class=_Connection,
            timeout=_CONNECT_S,
            command_timeout=60,
            server_settings={"timezone": "UTC", **(settings or {})},
        )
    try:
        yield pool
    finally:
        await pool.close()


async def check_connection(dsn: str) -> None:
    """Connect once, to know that it can be done.

    :raises ConfigurationError: as `open_pool`.
    :raises Unavailable: as `open_pool`.
    """
    with _connecting():
        connection = await asyncpg.connect(dsn, timeout=_CONNECT_S)
    await connection.close()


@contextmanager
def _connecting() -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError, asyncpg.ClientConfigurationError):
        # Its text may be the beginning of a password that has a / in it.
        raise ConfigurationError(NO_URL) from None
    except REFUSALS as exc:
        raise ConfigurationError(refusal(exc)) from None
    except _AWAY as exc:
        raise Unavailable(f"PostgreSQL does not answer ({type(exc).__name__}); is it running?") from exc
