"""`millrace share`: hand something in, watch it being worked on, read what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress

from millrace.cli.client import Client
from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import console, print_json
from millrace.cli.exits import FAILED, one_sentence
from millrace.cli.view import share_report, stage_table
from millrace.contracts.api import Accepted, ShareRequest, ShareView
from millrace.errors import ConfigurationError

share_app = typer.Typer(no_args_is_help=True, help="Share media and text, and read the results.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]

PATIENCE_S = 3600.0
"""How long `--wait` waits: longer than the limits of all stages together."""


@share_app.command("add")
def add(
    source: Annotated[str, typer.Argument(help="A file, an http(s) URL of media, or with --text the text itself")],
    text: Annotated[bool, typer.Option("--text", help="SOURCE is the text (or a file that holds it)")] = False,
    title: Annotated[str | None, typer.Option(help="Title")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until all stages have ended")] = False,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Share a file, a URL or a text."""
    with one_sentence(), connect(gateway) as client:
        accepted = send(client, source, text=text, title=title, quiet=as_json)
        if not wait:
            if as_json:
                print_json(accepted)
            else:
                console.print(
                    f"Accepted as {accepted.share_id}. Follow it with: millrace share show {accepted.share_id}"
                )
            return
        view = follow(client, accepted.share_id, quiet=as_json)
    if as_json:
        print_json(view)
    else:
        console.print(share_report(view))
    if view.state == "failed":
        raise typer.Exit(FAILED)


@share_app.command("show")
def show(
    share_id: Annotated[str, typer.Argument(help="Id of the share")],
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Where a share stands: stages, transcript, summary, receipts."""
    with one_sentence(), connect(gateway) as client:
        view = client.share(share_id)
    if as_json:
        print_json(view)
    else:
        console.print(share_report(view))


def send(client: Client, source: str, *, text: bool, title: str | None, quiet: bool) -> Accepted:
    """Hand a source in.

    :raises ConfigurationError: there is no such file.
    """
    if source.startswith(("http://", "https://")) and not text:
        return client.add(ShareRequest(url=source, title=title))
    path = Path(source)
    if text:
        words = path.read_text(errors="replace") if _is_file(path) else source
        return client.add(ShareRequest(text=words, title=title))
    if not _is_file(path):
        raise ConfigurationError(f"there is no file {source}; give a file, an http(s) URL, or a text with --text")
    bar = Progress("[progress.description]{task.description}", BarColumn(), DownloadColumn(), disable=quiet)
    with bar:
        task = bar.add_task(f"Sending {path.name}", total=path.stat().st_size)
        return client.upload(
            path,
            ShareRequest(title=title),
            progress=lambda sent, total: bar.update(task, completed=sent, total=total),
        )


def follow(client: Client, share_id: str, *, quiet: bool) -> ShareView:
    """Show the stages as they move until they have ended, or wait for money.

    :raises NotSettled: after an hour.
    """
    if quiet:
        return client.wait(share_id, within_s=PATIENCE_S)
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        return client.wait(share_id, within_s=PATIENCE_S, seen=lambda view: live.update(stage_table(view)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text that is too long to be a name
        return False
