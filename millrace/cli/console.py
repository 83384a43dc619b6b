"""What people and programs read on standard output, and how progress is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

Report = Callable[[str], None]
_PIPE_WIDTH = 10_000
"""Columns when the output is no terminal: a sentence stays on its line and can be searched for."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def show(*parts: RenderableType) -> None:
    """Print for people; a log gets no blanks at the ends of lines."""
    if console.is_terminal:
        for part in parts:
            console.print(part)
        return
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
    sys.stdout.flush()


def print_json(value: BaseModel) -> None:
    """One JSON document, in ASCII: strangers' text cannot bring control characters to a terminal."""
    print(json.dumps(value.model_dump(mode="json"), indent=2))


def reporter(*, as_json: bool) -> Report:
    """Where lines of progress go: with `--json` to standard error, so that standard output is JSON alone."""
    return lambda line: typer.echo(line, err=as_json)


def compact(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines, which fits 80 columns and reads well in a log.

    :param right: columns that are aligned to the right, amounts for instance.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def plain(text: str) -> Text:
    """Text of strangers: never read as markup, control characters made visible."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text))


def moment(milliseconds: int | None) -> str:
    """`1:02:03.4`, `0:07.5`: a place in media; empty for None.

    >>> moment(7500)
    '0:07.5'
    """
    if milliseconds is None:
        return ""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    clock = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
    return f"{clock}.{rest // 100}"
