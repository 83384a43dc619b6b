"""`millrace search`: find where something was said or written."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import console, moment, plain, print_json
from millrace.cli.exits import one_sentence
from millrace.contracts.api import SearchAnswer


def search(
    query: Annotated[str, typer.Argument(help="Words, or a question")],
    limit: Annotated[int, typer.Option(min=1, max=100, help="Hits at most")] = 10,
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Search all shares by meaning and by words; hits in media tell their moment."""
    with one_sentence(), connect(gateway) as client:
        answer = client.search(query, limit=limit)
    if as_json:
        print_json(answer)
    else:
        show(answer)


def show(answer: SearchAnswer) -> None:
    """Hits, best first."""
    if answer.note:
        console.print(plain(answer.note))
    if not answer.hits:
        console.print("Nothing found.")
        return
    table = Table("moment", "passage", "share", title=plain(f"Search: {answer.query}"), title_justify="left")
    for hit in answer.hits:
        table.add_row(moment(hit.start_ms), plain(hit.text), plain(f"{hit.title or ''} {hit.share_id}".strip()))
    console.print(table)
