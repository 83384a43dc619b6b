"""How dead letters read in a terminal. Pure."""

from __future__ import annotations

import json
from typing import Literal

from rich.console import Group, RenderableType
from rich.text import Text

from millrace.cli.console import compact, plain
from millrace.contracts.dead_api import (
    Changed,
    DeadLetter,
    DeadLettersAnswer,
    ManyChanged,
    Selection,
)

Verb = Literal["redrive", "discard"]
_LONGEST_EVENT = 2000  # characters; --json has all of it
_MOST_REFUSED = 10


def letters_report(answer: DeadLettersAnswer) -> Group:
    """One line a letter, newest first."""
    if not answer.letters:
        return Group(Text("No dead letters."))
    table = compact("died (UTC)", "stage", "error", "tries", "state", "id", "reason", right=("tries",))
    for letter in answer.letters:
        table.add_row(
            f"{letter.died_at:%Y-%m-%d %H:%M}",
            letter.stage,
            plain(letter.error),
            str(letter.attempts),
            letter.state,
            plain(letter.id),
            plain(letter.reason.replace("\n", " ")),
        )
    more = [] if answer.next is None else [plain(f"There are older ones: --cursor {answer.next}")]
    return Group(table, *more)


def letter_report(letter: DeadLetter) -> Group:
    """Everything about one letter but its bytes."""
    facts = compact("", "")
    facts.show_header = False
    for name, text in _facts(letter):
        facts.add_row(name, plain(text))
    parts: list[RenderableType] = [Text.assemble(plain(f"Dead letter {letter.id}"), style="bold"), facts]
    if letter.unreadable is not None:
        parts += ["", plain(letter.unreadable)]
    if letter.event is not None:
        event = json.dumps(letter.event, indent=2, ensure_ascii=False)
        cut = " … (whole with --json)" if len(event) > _LONGEST_EVENT else ""
        parts += ["", Text("What it says", style="bold"), plain(event[:_LONGEST_EVENT] + cut)]
    if letter.stack:
        parts += ["", Text("Where it happened", style="bold"), plain(letter.stack.rstrip())]
    return Group(*parts)


def decided_report(answer: Changed | ManyChanged, *, verb: Verb, counted: Selection | None = None) -> Group:
    """What was decided; `counted` when nothing was, and the letters that it selects were only counted."""
    if isinstance(answer, Changed):
        return Group(plain(_one(answer)))
    if counted is not None:
        repeat = "Repeat it with --yes to do it." if answer.matched else "There is nothing to do."
        return Group(plain(f"{_letters(answer.matched)} of {counted.stage} would be {_past(verb)}. {repeat}"))
    lines = [plain(f"{_letters(answer.changed)} {'is' if answer.changed == 1 else 'are'} {_past(verb)}.")]
    if answer.refused:
        lines.append(plain(f"{_letters(len(answer.refused))} cannot be:"))
        lines += [plain(f"  {one.id}: {one.reason}") for one in answer.refused[:_MOST_REFUSED]]
    if len(answer.refused) > _MOST_REFUSED:
        lines.append(plain("  … (all with --json)"))
    return Group(*lines)


def _one(answer: Changed) -> str:
    if answer.repeated:
        when = f"{answer.changed_at:%Y-%m-%d %H:%M} UTC"
        return f"{answer.id} was {answer.state} already, at {when} by {answer.changed_by}."
    if answer.state == "discarded":
        return f"{answer.id} is discarded; it is kept, and can still be redriven."
    watch = "" if answer.share_id is None else f" Watch it: millrace share show {answer.share_id}"
    return f"{answer.id} is redriven: {answer.stage} tries it anew.{watch}"


def _facts(letter: DeadLetter) -> list[tuple[str, str]]:
    decided = (
        "" if letter.changed_at is None else f", at {letter.changed_at:%Y-%m-%d %H:%M} UTC by {letter.changed_by}"
    )
    return [
        ("stage", letter.stage),
        ("share", letter.share_id or "unknown"),
        ("state", f"{letter.state}{decided}"),
        ("died", f"{letter.died_at:%Y-%m-%d %H:%M:%S} UTC in {letter.service or 'an unknown service'}"),
        ("error", f"{letter.error} after {letter.attempts} {'try' if letter.attempts == 1 else 'tries'}"),
        ("reason", letter.reason),
        ("came from", letter.origin or "unknown"),
        ("lies at", letter.place),
        ("size", f"{letter.size_bytes} bytes"),
    ]


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


def _past(verb: Verb) -> str:
    return "redriven" if verb == "redrive" else "discarded"
