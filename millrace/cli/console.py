"""What people and programs read on standard output."""

from __future__ import annotations

import sys

from pydantic import BaseModel
from rich.console import Console
from rich.text import Text

_PIPE_WIDTH = 240
"""Columns when the output is no terminal: wide enough that a sentence stays on its line and can be searched for."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def print_json(value: BaseModel) -> None:
    """One JSON document."""
    print(value.model_dump_json(indent=2))


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
