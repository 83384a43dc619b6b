"""Finds the gateway: the one that was named, or the one that `millrace up` runs on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.client import Client
from millrace.embedded.paths import StackPaths, default_data
from millrace.errors import Unavailable

GatewayOption = Annotated[
    str | None,
    typer.Option(
        "--gateway", envvar="MILLRACE_GATEWAY", help="URL of the gateway; the running `millrace up` by default"
    ),
]


def running_gateway(data: Path) -> str:
    """URL of the gateway that runs on a data folder.

    :raises Unavailable: none does.
    """
    try:
        found = json.loads(StackPaths(data).run.read_text())
    except FileNotFoundError:
        raise Unavailable(
            "nothing is running here: start it with `millrace up`, or name a gateway with --gateway URL"
        ) from None
    url = found.get("gateway")
    if not isinstance(url, str):
        raise Unavailable("the stack runs without a gateway; name one with --gateway URL")
    return url


@contextmanager
def connect(gateway: str | None) -> Iterator[Client]:
    """A client of the named gateway, or of the running one."""
    with Client(gateway or running_gateway(default_data())) as client:
        yield client
