"""Who is refused by the real PostgreSQL learns what to change, and does not wait for it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from millrace.embedded.readyfile import Addresses
from millrace.errors import ConfigurationError, Unavailable
from millrace.store.database import Database
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from tests.support.database import drop_database

REFUSED = {"password": "refuses the password", "database": "no database of the name", "user": "MILLRACE_POSTGRES"}


def refused(dsn: str, what: str) -> str:
    """The URL with one thing wrong."""
    parts = urlsplit(dsn)
    wrong = {"user": parts.username, "password": parts.password, "database": parts.path[1:]} | {what: "s3cret"}
    return f"postgresql://{wrong['user']}:{wrong['password']}@{parts.hostname}:{parts.port}/{wrong['database']}"


@pytest.mark.parametrize("what", REFUSED)
async def test_a_refusal_says_what_to_change(stack: Addresses, what: str) -> None:
    dsn = refused(stack.postgres, what)
    with pytest.raises(ConfigurationError, match=REFUSED[what]) as told:
        async with open_pool(dsn):
            pass
    assert "MILLRACE_POSTGRES" in str(told.value)
    assert "s3cret" not in str(told.value)
    assert told.value.__suppress_context__


@pytest.mark.parametrize("what", REFUSED)
def test_a_migration_says_so_too(stack: Addresses, what: str) -> None:
    with pytest.raises(ConfigurationError, match=REFUSED[what]) as told:
        migrate(refused(stack.postgres, what))
    assert told.value.__suppress_context__


def test_a_migration_of_a_database_that_is_away_may_be_tried_again() -> None:
    with pytest.raises(Unavailable, match="is it running"):
        migrate("postgresql://millrace:s3cret@127.0.0.1:1/millrace")


async def test_a_database_that_is_dropped_meanwhile_is_waited_for(
    empty_database: str, stack: Addresses, unique: str
) -> None:
    admin = await asyncpg.connect(stack.postgres)
    try:
        async with open_pool(empty_database, size=1) as pool:
            await drop_database(admin, unique)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await Database(pool).fetch("SELECT 1")
            await admin.execute(f"CREATE DATABASE {unique}")
            assert await Database(pool).fetch("SELECT 1")
    finally:
        await admin.close()
