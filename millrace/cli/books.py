"""`millrace budget audit` and `rebuild`: the ledger's own program, called with the addresses of the running stack."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Annotated

import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from millrace.cli.exits import one_sentence
from millrace.embedded.paths import StackPaths, default_data
from millrace.errors import Unavailable

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]
_PROGRAM = ("-P", "-m", "services.cost_ledger.books")
_NAMED = ("MILLRACE_KAFKA", "MILLRACE_REGISTRY", "MILLRACE_POSTGRES")


class _Running(BaseModel):
    """Addresses in a stack's run file; the database's has its password, so it goes on in the environment only."""

    model_config = ConfigDict(extra="ignore")

    kafka: str
    registry: str
    postgres: str


def audit(
    as_json: JsonOption = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds that what is on its way may take")] = 30.0,
) -> None:
    """Prove that the log of decisions, tables, topic and journal agree. The ledger may work meanwhile."""
    _call("audit", as_json, "--wait", str(wait))


def rebuild(as_json: JsonOption = False) -> None:
    """Make rows, tables, topic and journal anew from the log of decisions; the ledger must be stopped."""
    _call("rebuild", as_json)


def _call(what: str, as_json: bool, *options: str) -> None:
    with one_sentence():
        environment = addresses(os.environ)
    json_option = ("--json",) if as_json else ()
    # Its progress, its sentences and its status are the command's: nothing is read and said again.
    ended = subprocess.run((sys.executable, *_PROGRAM, what, *json_option, *options), env=environment, check=False)
    raise typer.Exit(ended.returncode)


def addresses(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with where everything is: what it names, or the running stack.

    :raises Unavailable: it does not name all three, and nothing runs.
    """
    if all(environment.get(name) for name in _NAMED):
        return dict(environment)
    data = default_data()
    try:
        running = _Running.model_validate_json(StackPaths(data).run.read_bytes())
    except (OSError, ValidationError):
        raise Unavailable(
            f"Nothing runs on {data}: start it with `millrace up`, or name another with {', '.join(_NAMED)}."
        ) from None
    values = (running.kafka, running.registry, running.postgres)
    return {**environment, **dict(zip(_NAMED, values, strict=True))}
