"""The `millrace` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import millrace
from millrace.cli.access import access_app
from millrace.cli.budget import budget_app
from millrace.cli.contracts import schemas_app, topics_app
from millrace.cli.costs import costs
from millrace.cli.database import database_app
from millrace.cli.dead import dead_app
from millrace.cli.demo import demo
from millrace.cli.digest import digest
from millrace.cli.doctor import doctor
from millrace.cli.embeddings import embeddings_app
from millrace.cli.exits import SOFTWARE
from millrace.cli.replay import replay
from millrace.cli.search import search
from millrace.cli.share import share_app
from millrace.cli.storage import storage_app
from millrace.cli.token import token
from millrace.cli.up import up

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # errors of the command line are a sentence, not a box around one
    pretty_exceptions_enable=False,
    help="Share media and text; get transcripts, summaries and search, with every model call granted by a ledger.",
)
app.command()(up)
app.command()(demo)
app.command()(doctor)
app.command()(search)
app.command()(digest)
app.command()(costs)
app.command()(replay)
app.command()(token)
app.add_typer(share_app, name="share")
app.add_typer(budget_app, name="budget")
app.add_typer(dead_app, name="dead")
app.add_typer(embeddings_app, name="embeddings")
app.add_typer(storage_app, name="storage")
app.add_typer(topics_app, name="topics")
app.add_typer(database_app, name="database")
app.add_typer(schemas_app, name="schemas")
app.add_typer(access_app, name="access")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"millrace {millrace.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which")] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """Entry point: an error nobody foresaw is still one line, with where to look."""
    try:
        app()
    except Exception as exc:  # the last net before a person would see a traceback
        sys.stderr.write(f"millrace: unexpected {type(exc).__name__}: {exc}. Please report this.\n")
        raise SystemExit(SOFTWARE) from exc


if __name__ == "__main__":
    main()
