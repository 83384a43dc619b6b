"""The database's schema: bring it to the newest one, or refuse to work on an older one."""

from __future__ import annotations

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from millrace.errors import ConfigurationError, Unavailable

_LOCK = 7_215_330_118  # advisory lock: one migration at a time per database


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def migrate(dsn: str) -> None:
    """Apply all migrations that the database lacks; safe to run from several processes at once.

    :param dsn: PostgreSQL URL; it stays in memory and is never logged.
    :raises Unavailable: the database does not answer.
    """
    engine = create_engine(make_url(dsn).set(drivername="postgresql+psycopg"))
    config = _config()
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as exc:
        raise Unavailable("PostgreSQL does not answer; is it running?") from exc
    finally:
        engine.dispose()


async def verify_migrated(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Refuse a database that lacks a migration of this version; one from a newer version is accepted.

    :raises ConfigurationError: tables are missing or old.
    """
    script = ScriptDirectory.from_config(_config())
    known = [revision.revision for revision in script.walk_revisions()]
    try:
        found = await pool.fetchval("SELECT version_num FROM alembic_version")
    except asyncpg.UndefinedTableError:
        found = None
    if found is None:
        raise ConfigurationError("the database holds no tables of Millrace: run `millrace database migrate`")
    if found in known[1:]:
        raise ConfigurationError(
            f"the database is at migration {found}, this version needs {known[0]}: run `millrace database migrate`"
        )
