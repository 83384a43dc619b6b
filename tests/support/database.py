"""Databases of a test's own, and a look into the one of what it runs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import psycopg
import psycopg.rows

from tests.support.waiting import eventually


@asynccontextmanager
async def own_database(postgres: str, name: str | None = None) -> AsyncIterator[str]:
    """URL of an empty database (no migrations applied), dropped afterwards with whoever is still connected."""
    name = name or f"t{uuid.uuid4().hex[:10]}"
    admin = await asyncpg.connect(postgres)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        try:
            yield urlsplit(postgres)._replace(path=f"/{name}").geturl()
        finally:
            await drop_database(admin, name)
    finally:
        await admin.close()


async def drop_database(admin: asyncpg.Connection[asyncpg.Record], name: str) -> None:
    """With whoever is still connected.

    PostgreSQL refuses that while autovacuum is at work there, whose process no one but a superuser may end.
    """

    async def is_dropped() -> bool:
        try:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        except asyncpg.InsufficientPrivilegeError:
            return False
        return True

    await eventually(is_dropped, f"autovacuum to leave {name}", within_s=60)


def rows(postgres: str, query: str, *args: object) -> list[dict[str, object]]:
    """What a query gives, by the names of its columns."""
    with psycopg.connect(postgres, row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute(query.encode(), args).fetchall()
