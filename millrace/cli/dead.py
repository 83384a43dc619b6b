"""`millrace dead`: messages that a stage gave up on, and what to do about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

import typer
from pydantic import TypeAdapter, ValidationError

from millrace.cli.client import Client
from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import Report, print_json, reporter, show
from millrace.cli.dead_view import Verb, decided_report, letter_report, letters_report
from millrace.cli.exits import FAILED, one_sentence
from millrace.cli.names import a_stage
from millrace.cli.since import HELP, since_option
from millrace.contracts.dead_api import (
    MOST_AT_ONCE,
    Changed,
    DeadLetter,
    DeadLettersAnswer,
    ErrorName,
    ManyChanged,
    Refused,
    Selection,
)
from millrace.contracts.events import StageName

dead_app = typer.Typer(no_args_is_help=True, help="Dead letters: messages that a stage gave up on.")
_ERRORS = TypeAdapter[str](ErrorName)


def _an_error(name: str | None) -> str | None:
    """The name of an error as it was typed; for options.

    :raises typer.BadParameter: it cannot be one.
    """
    try:
        return None if name is None else _ERRORS.validate_python(name)
    except ValidationError as exc:
        raise typer.BadParameter("give the name of an error, such as Poison.") from exc


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]
StageOption = Annotated[StageName | None, typer.Option("--stage", callback=a_stage, help="Of this stage")]
ErrorOption = Annotated[
    str | None, typer.Option("--error", callback=_an_error, help="Of this error, as the list names it")
]
SinceOption = Annotated[
    str | None, typer.Option("--since", callback=since_option, metavar="TIME", help=f"That died since: {HELP}")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without this, those that are meant are counted")]
IdArgument = Annotated[str | None, typer.Argument(metavar="ID", help="One dead letter, as the list names it")]
Shown = Literal["open", "redriven", "discarded", "all"]


@dead_app.callback()
def dead() -> None:
    """Dead letters: messages that a stage gave up on."""


@dead_app.command("list")
def list_letters(
    stage: StageOption = None,
    state: Annotated[Shown, typer.Option("--state", help="What was decided about them; open: nothing yet")] = "open",
    error: ErrorOption = None,
    share: Annotated[str | None, typer.Option("--share", help="Of this share")] = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_AT_ONCE, help="Dead letters at most")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Go on where the list before ended")] = None,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Dead letters, newest first."""
    asked: dict[str, str | int | None] = {
        "stage": stage,
        "state": None if state == "all" else state,
        "error": error,
        "share": share,
        "since": since,
        "limit": limit,
        "cursor": cursor,
    }
    with one_sentence(), connect(gateway) as client:
        answer = client.get("/dead", DeadLettersAnswer, **asked)
    if as_json:
        print_json(answer)
    else:
        show(letters_report(answer))


@dead_app.command("show")
def show_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As the list names it")],
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """One dead letter: why it died, where it came from, and what it says. With --json its bytes, too."""
    with one_sentence(), connect(gateway) as client:
        letter = client.get(_path(letter_id), DeadLetter)
    if as_json:
        print_json(letter)
    else:
        show(letter_report(letter))


@dead_app.command("redrive")
def redrive(
    letter_id: IdArgument = None,
    stage: StageOption = None,
    error: ErrorOption = None,
    since: SinceOption = None,
    yes: YesOption = False,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the stage try again what it gave up on, once the cause is mended; with --stage all that are open.

    Tries are counted afresh. What was paid for and kept is not paid again.
    """
    _decide("redrive", letter_id, _selected(letter_id, stage, error, since, yes), gateway, as_json=as_json)


@dead_app.command("discard")
def discard(
    letter_id: IdArgument = None,
    stage: StageOption = None,
    error: ErrorOption = None,
    since: SinceOption = None,
    yes: YesOption = False,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that nothing is to be done about a dead letter; with --stage about all that are open. They are kept."""
    _decide("discard", letter_id, _selected(letter_id, stage, error, since, yes), gateway, as_json=as_json)


def _selected(
    letter_id: str | None, stage: StageName | None, error: str | None, since: str | None, yes: bool
) -> Selection | None:
    """Which letters are meant; None for the one that is named.

    :raises typer.BadParameter: neither one nor many, or both.
    """
    if (letter_id is None) == (stage is None):
        raise typer.BadParameter("give the ID of one dead letter, or --stage for all of a stage that are open.")
    if stage is None:
        if error is not None or since is not None:
            raise typer.BadParameter("--error and --since go with --stage.")
        return None
    return Selection(
        stage=stage, error=error, since=None if since is None else datetime.fromisoformat(since), dry_run=not yes
    )


def _decide(
    verb: Verb, letter_id: str | None, which: Selection | None, gateway: str | None, *, as_json: bool
) -> None:
    with one_sentence(), connect(gateway) as client:
        if which is None:
            answer: Changed | ManyChanged = client.post(f"{_path(letter_id or '')}/{verb}", Changed)
        else:
            answer = _many(client, verb, which, reporter(as_json=as_json))
    if as_json:
        print_json(answer)
    else:
        show(decided_report(answer, verb=verb, counted=which if which is not None and which.dry_run else None))
    if isinstance(answer, ManyChanged) and answer.refused:
        raise typer.Exit(FAILED)


def _many(client: Client, verb: Verb, which: Selection, report: Report) -> ManyChanged:
    """All that are selected, batch by batch; those that die meanwhile are not among them."""
    matched = changed = 0
    refused: list[Refused] = []
    while True:
        answer = client.post(f"/dead/{verb}", ManyChanged, which)
        matched = matched or answer.matched
        changed += answer.changed
        refused += answer.refused
        if answer.next is None:
            return ManyChanged(matched=matched, changed=changed, refused=refused)
        report(f"{changed + len(refused)} of {matched} done.")
        which = which.model_copy(update={"cursor": answer.next})


def _path(letter_id: str) -> str:
    return f"/dead/{quote(letter_id, safe='')}"
