"""Bring the database to the newest schema."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from alembic import command
from alembic.config import Config
from psycopg.errors import DeadlockDetected
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from millrace.errors import ConfigurationError, Unavailable
from millrace.store.pool import NO_URL, check_connection
from millrace.store.version import MIGRATIONS

_LOCK = 7_215_330_118  # advisory lock: one migration at a time per database


def migrate(dsn: str) -> None:
    """Apply all migrations that the database lacks; safe to run from several processes at once.

    :param dsn: PostgreSQL URL; it stays in memory and is never logged.
    :raises ConfigurationError: it is no URL, or PostgreSQL refuses the user, the password or the database.
    :raises Unavailable: the database does not answer.
    """
    # As the services connect: they must be able to, and this driver does not tell a refusal from an outage.
    with ThreadPoolExecutor(1) as aside:  # the caller's thread may have an event loop
        aside.submit(asyncio.run, check_connection(dsn)).result()
    try:
        engine = create_engine(make_url(dsn).set(drivername="postgresql+psycopg"))
    except ArgumentError:
        raise ConfigurationError(NO_URL) from None
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as exc:  # its text may repeat parts of the URL
        if isinstance(exc.orig, DeadlockDetected):
            raise Unavailable("The migration and a running service waited for each other: run it again.") from None
        raise Unavailable("PostgreSQL does not answer; is it running?") from None
    finally:
        engine.dispose()
