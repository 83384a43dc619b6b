"""Refuses to work on tables of another version. Apart from `migrate`, whose tools take two seconds to import."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from millrace.errors import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"


def known_revisions() -> list[str]:
    """Revisions of this version, oldest first: the numbers that the files of migrations begin with."""
    return sorted(file.name.split("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


async def verify_migrated(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Refuse a database that lacks a migration of this version; one from a newer version is accepted.

    :raises ConfigurationError: tables are missing or old.
    """
    known = known_revisions()
    try:
        found = await pool.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        found = None
    if found is None:
        raise ConfigurationError("the database holds no tables of Millrace: run `millrace database migrate`")
    if found in known[:-1]:
        raise ConfigurationError(
            f"the database is at migration {found}, this version needs {known[-1]}: run `millrace database migrate`"
        )
