"""Bring the database to the newest schema; safe to run from several processes at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

_LOCK = 7_215_330_118  # advisory lock: one migration at a time per database


def migrate(dsn: str) -> None:
    """Apply all migrations that the database lacks.

    :param dsn: PostgreSQL URL; it stays in memory and is never logged.
    """
    url = make_url(dsn).set(drivername="postgresql+psycopg")
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
