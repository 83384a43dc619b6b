"""`millrace share delete`: a share and everything that came of it, for good."""

from __future__ import annotations

import sys
from typing import Annotated
from uuid import UUID

import typer

from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import print_json, show
from millrace.cli.exits import one_sentence
from millrace.contracts.share_api import DeletedShare
from millrace.errors import ConfigurationError


def delete(
    share_id: Annotated[UUID, typer.Argument(help="Id of the share")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking")] = False,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Delete a share for good: its text, media, transcript, summary and passages. What it has cost stays counted."""
    with one_sentence(), connect(gateway) as client:
        if not yes and not _confirmed(share_id):
            raise ConfigurationError("Nothing was deleted: to delete the share without being asked, say --yes.")
        client.delete(str(share_id))
    if as_json:
        print_json(DeletedShare(share_id=str(share_id)))
    else:
        show(f"{share_id} is deleted.")


def _confirmed(share_id: UUID) -> bool:
    """By whoever sits at a terminal."""
    question = f"Delete {share_id} and everything that came of it, for good?"
    return sys.stdin.isatty() and typer.confirm(question, err=True)
