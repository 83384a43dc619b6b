"""Finds the gateway: the one that was named, or the one that `millrace up` runs on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from millrace.cli.client import Client
from millrace.embedded.paths import StackPaths, default_data
from millrace.errors import ConfigurationError, Unavailable

GatewayOption = Annotated[
    str | None,
    typer.Option(
        "--gateway", envvar="MILLRACE_GATEWAY", help="URL of the gateway; the running `millrace up` by default"
    ),
]

transport: ContextVar[httpx.BaseTransport | None] = ContextVar("transport", default=None)
"""What requests go over; the network, unless a test puts an answer here."""


class _Running(BaseModel):
    """What commands need of a stack's run file."""

    model_config = ConfigDict(extra="ignore")

    gateway: str | None = None


def running_gateway(data: Path) -> str:
    """URL of the gateway that runs on a data folder.

    :raises Unavailable: none does.
    """
    file = StackPaths(data).run
    try:
        url = _Running.model_validate_json(file.read_bytes()).gateway
    except FileNotFoundError:
        raise Unavailable(
            f"Nothing runs on {data}: start it with `millrace up`, or name a gateway with --gateway URL."
        ) from None
    except (OSError, ValidationError) as exc:
        raise Unavailable(
            f"{file} cannot be read ({type(exc).__name__}): name a gateway with --gateway URL."
        ) from exc
    if url is None:
        raise Unavailable("The stack runs without a gateway: name one with --gateway URL.")
    return url


def gateway_url(text: str) -> str:
    """A gateway's URL as somebody typed it.

    :raises ConfigurationError: it is no http(s) URL.
    """
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not match, a port that is no number
        sound = False
    if not sound:
        raise ConfigurationError(f"{text!r} is not the URL of a gateway: give one like http://127.0.0.1:8080.")
    return text


@contextmanager
def connect(gateway: str | None) -> Iterator[Client]:
    """A client of the named gateway, or of the running one."""
    url = gateway_url(gateway) if gateway else running_gateway(default_data())
    with Client(url, transport=transport.get()) as client:
        yield client
