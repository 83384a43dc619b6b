"""`millrace up`: everything on this machine, in one command."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from millrace.cli.console import print_json, reporter
from millrace.cli.exits import one_sentence
from millrace.embedded.paths import default_data
from millrace.embedded.readyfile import Ready
from millrace.embedded.signals import until_signal
from millrace.embedded.signing import LINKS_LAST
from millrace.embedded.up import UpOptions, everything

DataOption = Annotated[
    Path | None, typer.Option(help="Folder that holds everything; the user's data folder by default")
]
PortOption = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the gateway; a free one by default")]


class Announcement(BaseModel):
    """What `up --json` prints when all is ready.

    Without the database: its address holds a password, which is for the ready file (0600) and not for logs.
    """

    gateway: str
    kafka: str
    registry: str
    data: str


def up(
    data: DataOption = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write addresses as JSON here when all is ready; removed at the stop")
    ] = None,
    port: PortOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document when all is ready; progress goes to stderr")
    ] = False,
) -> None:
    """Start everything on this machine; Ctrl-C stops it.

    Kafka, the schema registry, PostgreSQL and all services, each a child process.
    """
    options = UpOptions(data=(data or default_data()).absolute(), ready_file=ready_file, port=port)
    with one_sentence():
        asyncio.run(until_signal(_stay(options, as_json=as_json)))
        reporter(as_json=as_json)("stopped")


async def _stay(options: UpOptions, *, as_json: bool) -> None:
    async with everything(options, reporter(as_json=as_json)) as ready:
        found = ready.addresses
        if as_json:
            print_json(
                Announcement(
                    gateway=found.gateway, kafka=found.kafka, registry=found.registry, data=str(options.data)
                )
            )
        else:
            for line in whereabouts(ready, options.data):
                typer.echo(line)
        await asyncio.Event().wait()


def whereabouts(ready: Ready, data: Path) -> list[str]:
    """Where everything is, and how other commands find it when it is not in its usual folder."""
    gateway = ready.addresses.gateway
    lines = [
        f"Millrace is ready at {gateway} (API: {gateway}/docs). Ctrl-C stops it.",
        f"Sign in with a browser, within {LINKS_LAST.total_seconds() / 60:.0f} minutes: {ready.link}",
    ]
    if data != default_data():
        lines.append(
            f"Other commands find it with: export MILLRACE_GATEWAY={gateway} "
            f"MILLRACE_TOKEN=$(millrace token --data {shlex.quote(str(data))})"
        )
    return lines
