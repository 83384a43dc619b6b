"""`millrace access`: who may do what in Kafka, and the files of a trial."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from millrace.cli.console import reporter, show
from millrace.cli.exits import one_sentence
from millrace.contracts import acls
from millrace.contracts.access import apply_access
from millrace.contracts.catalog import Catalog
from millrace.settings import ClusterSettings
from millrace.startup import load_settings
from millrace.trial import make_trial, passwords

access_app = typer.Typer(no_args_is_help=True, help="Users of Kafka and their rights, one user for each service.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


@access_app.command("list")
def list_rights(
    user: Annotated[str | None, typer.Option(help="Only this user's")] = None, as_json: JsonOption = False
) -> None:
    """List the rights that each service needs, which is all that `apply` gives."""
    with one_sentence():
        found = [grant for grant in acls.grants(Catalog.load()) if user in (None, grant.user)]
    if as_json:
        typer.echo(json.dumps([asdict(grant) for grant in found], indent=2))
        return
    table = Table("user", "may", "what", "whose name", box=None, pad_edge=False)
    for grant in found:
        name = f"begins with {grant.name}" if grant.prefixed else grant.name
        table.add_row(grant.user, grant.operation, grant.resource, name)
    show(table)


@access_app.command("apply")
def apply(
    passwords_from: Annotated[
        Path | None,
        typer.Option("--passwords", metavar="FOLDER", help="Also set the passwords there, each in USER.password"),
    ] = None,
    kafka: Annotated[str | None, typer.Option(envvar="MILLRACE_KAFKA", help="Bootstrap address, host:port")] = None,
    take: Annotated[bool, typer.Option("--take", help="Take what these users may do beyond their rules")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give every service's user its rights, and say what they have beyond them; run it as often as you like.

    With stages of your own MILLRACE_CONTRACTS must be set, as ever: their rights are in no rule otherwise. As whom
    it is done is said by MILLRACE_KAFKA_USER, MILLRACE_KAFKA_PASSWORD and MILLRACE_KAFKA_CA: the operator.
    """
    report = reporter(as_json=as_json)
    with one_sentence():
        catalog = Catalog.load()
        users = acls.users(catalog)
        known = {} if passwords_from is None else passwords(passwords_from, users)
        known.pop(acls.OPERATOR, None)  # whoever does this is that user: its password is changed by hand
        settings = load_settings(ClusterSettings, **({} if kafka is None else {"kafka": kafka}))
        done = asyncio.run(apply_access(settings.cluster, users, acls.grants(catalog), known, report, take=take))
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))
    else:
        left = f", {len(done.beyond)} in no rule" if done.beyond else ""
        show(f"{len(done.users)} passwords set, {len(done.given)} rights given, {len(done.taken)} taken{left}.")


@access_app.command("trial")
def trial(
    folder: Annotated[Path, typer.Argument(help="A new folder, for your eyes alone")],
    host: Annotated[list[str], typer.Option(help="Name or address under which clients ask a broker; repeat it")],
    as_json: JsonOption = False,
) -> None:
    """Make a private authority, the brokers' certificates and everybody's passwords, good for 30 days."""
    with one_sentence():
        made = make_trial(folder, host, acls.users(Catalog.load()), datetime.now(UTC))
    if as_json:
        typer.echo(json.dumps([str(path) for path in made], indent=2))
    else:
        show(f"{len(made)} files are in {folder}: docs/security.md says what goes where.")
