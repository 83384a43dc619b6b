"""`millrace share`: hand something in, watch it being worked on, read what came of it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, get_args
from uuid import UUID

import typer
from rich.live import Live
from rich.progress import BarColumn, DownloadColumn, Progress

from millrace.cli.client import Client, NotSettled
from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import Report, console, print_json, reporter, show
from millrace.cli.delete import delete
from millrace.cli.duplicates import duplicates
from millrace.cli.exits import FAILED, LATER, one_sentence
from millrace.cli.transcript import transcript
from millrace.cli.view import cancel_report, moves, share_report, shares_report, stage_table
from millrace.contracts.events import SourceKind
from millrace.contracts.share_api import (
    MOST_SHARES,
    Accepted,
    CancelAnswer,
    CancelledStage,
    ShareRequest,
    ShareState,
    ShareView,
    TextChunker,
)
from millrace.errors import ConfigurationError

share_app = typer.Typer(no_args_is_help=True, help="Share media and text, and read the results.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]
share_app.command()(transcript)
share_app.command()(duplicates)
share_app.command()(delete)

STDIN = "-"
TEXT_SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown", ".rst"})
"""Files that are read as text without being asked to; anything else is media."""
PATIENCE_S = 3600.0
"""How long `--wait` waits: longer than the limits of all stages together."""
STOP_PATIENCE_S = 30.0
"""How long a cancel waits for what runs to stop; a call of an API that is under way may take longer."""


@share_app.command("add")
def add(
    source: Annotated[
        str, typer.Argument(help="A file, an http(s) URL of media, with --text a text, or - for a text on stdin")
    ],
    text: Annotated[bool, typer.Option("--text", help="SOURCE is the text (or a file that holds it)")] = False,
    title: Annotated[str | None, typer.Option(help="Title; of a text file its name by default")] = None,
    chunker: Annotated[
        str | None, typer.Option(help="How a text is cut for search: auto, none, paragraph, sentence or fixed")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress until all stages have ended")] = False,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Share a file (.txt and .md are text, others media), a URL or a text."""
    with one_sentence(), connect(gateway) as client:
        accepted = send(client, source, text=text, title=title, chunker=a_chunker(chunker), quiet=as_json)
        if not wait:
            if as_json:
                print_json(accepted)
            else:
                show(f"Accepted as {accepted.share_id}.", _look(accepted.share_id))
            return
        view = _followed(client, accepted.share_id, quiet=as_json)
    _print(view, as_json=as_json)
    if view.state in ("failed", "cancelled"):
        raise typer.Exit(FAILED)
    if view.state == "parked":
        raise typer.Exit(LATER)


@share_app.command("show")
def show_share(
    share_id: Annotated[UUID, typer.Argument(help="Id of the share")],
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Where a share stands: stages, transcript, summary, receipts."""
    with one_sentence(), connect(gateway) as client:
        view = client.share(str(share_id))
    _print(view, as_json=as_json)


@share_app.command("cancel")
def cancel_share(
    share_id: Annotated[UUID, typer.Argument(help="Id of the share")],
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let nothing of a share go on: what waits never begins, what runs is stopped. Results that are there stay."""
    with one_sentence(), connect(gateway) as client:
        answer = client.cancel(str(share_id))
        if _stopping(answer):
            answer = _stopped(client, answer, report=reporter(as_json=as_json))
    if as_json:
        print_json(answer)
    else:
        show(cancel_report(answer))
    if _stopping(answer):
        raise typer.Exit(LATER)


@share_app.command("list")
def list_shares(
    state: Annotated[str | None, typer.Option(help=f"In this state: {', '.join(get_args(ShareState))}")] = None,
    kind: Annotated[str | None, typer.Option(help=f"Of this kind: {', '.join(get_args(SourceKind))}")] = None,
    account: Annotated[str | None, typer.Option(help="Paid by this account")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_SHARES, help="Shares at most")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on where the list before ended")] = None,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """One's own shares, newest first."""
    with one_sentence(), connect(gateway) as client:
        answer = client.shares(limit=limit, cursor=cursor, state=state, kind=kind, account=account)
    if as_json:
        print_json(answer)
    else:
        show(shares_report(answer))


@share_app.command("retry")
def retry_share(
    share_id: Annotated[UUID, typer.Argument(help="Id of the share")],
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try again what failed or was cancelled of a share. What is finished is neither done nor paid again."""
    with one_sentence(), connect(gateway) as client:
        answer = client.retry(str(share_id))
    if as_json:
        print_json(answer)
    elif answer.stages:
        left = [f"Not {stage}: {reason}" for stage, reason in answer.left.items()]
        show(f"Tried again: {', '.join(answer.stages)}.", *left, _look(answer.share_id))
    else:
        show("Nothing of it has failed or was cancelled.")


def _stopping(answer: CancelAnswer) -> list[CancelledStage]:
    return [stage for stage in answer.stages if stage.outcome == "stopping"]


def _stopped(client: Client, answer: CancelAnswer, *, report: Report) -> CancelAnswer:
    """How what ran has ended, or that it still runs."""
    report(f"Stopping {', '.join(stage.stage for stage in _stopping(answer))}.")
    with contextlib.suppress(NotSettled):
        client.wait(answer.share_id, within_s=STOP_PATIENCE_S)
    stages = client.share(answer.share_id).stages
    return CancelAnswer(
        share_id=answer.share_id, stages=[CancelledStage.of(stage.stage, stage.state) for stage in stages]
    )


def a_chunker(name: str | None) -> TextChunker | None:
    """A chunker of texts as it was typed.

    :raises ConfigurationError: there is none of that name.
    """
    found = next((one for one in get_args(TextChunker) if one == name), None)
    if name is not None and found is None:
        raise ConfigurationError(f"There is no chunker {name}: choose one of {', '.join(get_args(TextChunker))}.")
    return found


def send(
    client: Client,
    source: str,
    *,
    text: bool,
    title: str | None,
    quiet: bool,
    chunker: TextChunker | None = None,
) -> Accepted:
    """Hand a source in.

    :raises ConfigurationError: there is no such file, or it is to be read as text and is none.
    """
    if source.startswith(("http://", "https://")) and not text:
        return client.add(ShareRequest(url=source, title=title, chunker=chunker))
    path = Path(source)
    if source == STDIN:
        return client.add(
            ShareRequest(text=_utf8(sys.stdin.buffer.read(), "standard input"), title=title, chunker=chunker)
        )
    if not _is_file(path):
        if text:
            return client.add(ShareRequest(text=source, title=title, chunker=chunker))
        raise ConfigurationError(f"There is no file {source}: give a file, an http(s) URL, or a text with --text.")
    if text or path.suffix.lower() in TEXT_SUFFIXES:
        return client.add(ShareRequest(text=_text_of(path), title=title or path.name, chunker=chunker))
    if chunker is not None:
        raise ConfigurationError("--chunker is for texts: what is said in media is cut by its times.")
    return _upload(client, path, title=title, quiet=quiet)


def follow(client: Client, share_id: str, *, report: Report | None) -> ShareView:
    """Wait until all stages have ended or wait for money; a terminal sees them move, a log reads how they did.

    :param report: told a line per change where there is no terminal; None keeps quiet in both.
    :raises NotSettled: after an hour.
    """
    if report is None:
        return client.wait(share_id, within_s=PATIENCE_S)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            return client.wait(share_id, within_s=PATIENCE_S, seen=lambda view: live.update(stage_table(view)))
    last: ShareView | None = None

    def tell(view: ShareView) -> None:
        nonlocal last
        for line in moves(last, view):
            report(line)
        last = view

    return client.wait(share_id, within_s=PATIENCE_S, seen=tell)


def _followed(client: Client, share_id: str, *, quiet: bool) -> ShareView:
    try:
        return follow(client, share_id, report=None if quiet else typer.echo)
    except KeyboardInterrupt:
        typer.echo(f"\nIt is still being worked on. {_look(share_id)}", err=True)
        raise


def _upload(client: Client, path: Path, *, title: str | None, quiet: bool) -> Accepted:
    columns = ("Sending", BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=path.stat().st_size)
        return client.upload(
            path,
            ShareRequest(title=title),
            progress=lambda sent, total: bar.update(task, completed=sent, total=total),
        )


def _print(view: ShareView, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
    else:
        show(share_report(view))


def _look(share_id: str) -> str:
    return f"Look at it with: millrace share show {share_id}"


def _text_of(path: Path) -> str:
    try:
        return _utf8(path.read_bytes(), str(path))
    except OSError as exc:
        raise ConfigurationError(f"The file {path} cannot be opened ({exc.strerror}).") from exc


def _utf8(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{name} is not text in UTF-8: convert it first.") from exc


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that is too long to be a name, or holds a zero byte
        return False
