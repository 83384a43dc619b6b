"""`millrace up`: everything on this machine, in one command."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.exits import one_sentence
from millrace.embedded.paths import default_data
from millrace.embedded.up import UpOptions, run_up


def up(
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds everything; the user's data folder by default")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write addresses as JSON here when all is ready; removed at the stop")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the gateway; a free one by default")
    ] = None,
) -> None:
    """Start Kafka, the registry, PostgreSQL and all services; stop them with Ctrl-C."""
    options = UpOptions(data=(data or default_data()).absolute(), ready_file=ready_file, port=port)
    with one_sentence():
        asyncio.run(run_up(options, report=typer.echo))
