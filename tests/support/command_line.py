"""Commands as a user types them, against a gateway that a test plays, and what they say."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from rich.console import Console, RenderableType
from typer.testing import CliRunner, Result

from millrace.cli.connection import transport
from millrace.cli.main import app

Answer = Callable[[httpx.Request], httpx.Response]


def run(answer: Answer, *arguments: str, stdin: bytes = b"") -> Result:
    """What a command says, and its status."""
    token = transport.set(httpx.MockTransport(answer))
    try:
        return CliRunner().invoke(app, arguments, input=stdin, env={"MILLRACE_GATEWAY": "http://gateway:1"})
    finally:
        transport.reset(token)


def sentence(result: Result) -> str:
    """The one sentence of a command that says nothing else."""
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1
    return result.stderr


def lines(shown: RenderableType, width: int = 80) -> list[str]:
    """What is shown, line by line, with single blanks."""
    console = Console(width=width, highlight=False, no_color=True)
    with console.capture() as captured:
        console.print(shown)
    return [" ".join(line.split()) for line in captured.get().splitlines()]
