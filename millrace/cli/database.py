"""`millrace database`: the tables that services work on."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from millrace.cli.exits import one_sentence
from millrace.errors import ConfigurationError

database_app = typer.Typer(no_args_is_help=True, help="The database's tables.")
DSN_VARIABLE = "MILLRACE_POSTGRES"


@database_app.callback()
def database() -> None:
    """The database's tables."""


@database_app.command("migrate")
def migrate(as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False) -> None:
    """Bring the database of MILLRACE_POSTGRES to the newest schema; run it as often as you like."""
    with one_sentence():
        # Only by environment: an argument would show the password to everybody on the machine.
        dsn = os.environ.get(DSN_VARIABLE)
        if not dsn:
            raise ConfigurationError(
                f"Name the database with {DSN_VARIABLE}=postgresql://user:password@host/database."
            )
        # Its tools take a second to import, which no other command shall pay.
        from millrace.store.migrate import migrate as apply_migrations  # noqa: PLC0415 - as the line above says

        apply_migrations(dsn)
    typer.echo(json.dumps({"migrated": True}) if as_json else "The database has the newest schema.")
