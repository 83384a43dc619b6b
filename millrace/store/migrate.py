"""Bring the database to the newest schema."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from millrace.errors import Unavailable
from millrace.store.version import MIGRATIONS

_LOCK = 7_215_330_118  # advisory lock: one migration at a time per database


def migrate(dsn: str) -> None:
    """Apply all migrations that the database lacks; safe to run from several processes at once.

    :param dsn: PostgreSQL URL; it stays in memory and is never logged.
    :raises Unavailable: the database does not answer.
    """
    engine = create_engine(make_url(dsn).set(drivername="postgresql+psycopg"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as exc:
        raise Unavailable("PostgreSQL does not answer; is it running?") from exc
    finally:
        engine.dispose()
