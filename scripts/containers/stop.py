"""`scripts/stop`: stops what scripts/start has started."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Final

from .compose import Compose
from .console import CONFIGURATION, STATUSES, Stopped, say, show, told
from .secret_files import SECRETS

_STOP: Final = "Stop what scripts/start has started and wait for it: services finish what they are at. Data stays."


def main(arguments: Sequence[str]) -> int:
    """`scripts/stop`."""
    parser = argparse.ArgumentParser(prog="scripts/stop", description=_STOP, epilog=STATUSES)
    parser.add_argument("--volumes", action="store_true", help="remove all data too; asks first")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args(arguments)
    return told(lambda: _stop(Compose(["gpu"]), volumes=given.volumes, sure=given.yes, as_json=given.json))


def _stop(compose: Compose, *, volumes: bool, sure: bool, as_json: bool) -> None:
    compose.check()
    if not SECRETS.is_dir():
        raise Stopped("Nothing was started from this folder: there are no secrets in deploy/compose.", CONFIGURATION)
    if volumes and not sure:
        if not sys.stdin.isatty():
            raise Stopped("--volumes removes all data: say --yes where nobody can be asked.", CONFIGURATION)
        say("This removes every share, transcript and topic of this installation for good.")
        if input("Type `remove` to go on: ").strip() != "remove":
            raise Stopped("Nothing was done.")
    say("stopping; services finish what they are at")
    compose.ask("down", "--remove-orphans", *(["--volumes"] if volumes else []))
    left = compose.look()
    if left:
        raise Stopped(f"Some are still there: {', '.join(sorted(left))}.")
    if as_json:
        show(json.dumps({"stopped": True, "data": "removed" if volumes else "kept"}))
    else:
        show("All is stopped; " + ("its data is removed." if volumes else "its data stays for the next start."))
