"""Finds the gateway: the one that was named, or the one that `millrace up` runs on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, NamedTuple
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

TOKEN_VARIABLE = "MILLRACE_TOKEN"  # noqa: S105 - a name
"""Never an option of a command: every user can read the command lines of the others."""

transport: ContextVar[httpx.BaseTransport | None] = ContextVar("transport", default=None)
"""What requests go over; the network, unless a test puts an answer here."""


class _Running(BaseModel):
    """What commands need of a stack's run file."""

    model_config = ConfigDict(extra="ignore")

    gateway: str | None = None
    token: str | None = None


class Target(NamedTuple):
    """A gateway's URL, and the token to sign in with, if there is one."""

    url: str
    token: str | None


def running_gateway(data: Path) -> Target:
    """The gateway that runs on a data folder.

    :raises Unavailable: none does.
    """
    file = StackPaths(data).run
    try:
        found = _Running.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise Unavailable(
            f"Nothing runs on {data}: start it with `millrace up`, or name a gateway with --gateway URL."
        ) from None
    except (OSError, ValidationError) as exc:
        raise Unavailable(
            f"{file} cannot be read ({type(exc).__name__}): name a gateway with --gateway URL."
        ) from exc
    if found.gateway is None:
        raise Unavailable("The stack runs without a gateway: name one with --gateway URL.")
    return Target(found.gateway, found.token)


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
    url, token = target(gateway, os.environ.get(TOKEN_VARIABLE), default_data())
    with Client(url, token=token, transport=transport.get()) as client:
        yield client


def target(named: str | None, token: str | None, data: Path) -> Target:
    """Whom to ask and how to sign in: by the token of the environment, or that of this machine's own gateway.

    A token is sent to the gateway that it is of, and to no other.
    """
    if named is None or not named:
        running = running_gateway(data)
        return Target(running.url, token or running.token)
    url = gateway_url(named)
    if token is None:
        with suppress(Unavailable):
            running = running_gateway(data)
            if running.url.rstrip("/") == url.rstrip("/"):
                token = running.token
    return Target(url, token)
