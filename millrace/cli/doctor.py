"""`millrace doctor`: is everything here that the embedded stack needs?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.console import console, plain
from millrace.cli.exits import FAILED, one_sentence
from millrace.embedded.doctor import examine
from millrace.embedded.paths import default_data


def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder to look at; the default one otherwise")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Check this machine; ends 1 when something is missing, saying what to do."""
    with one_sentence():
        findings = examine((data or default_data()).absolute())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            console.print(plain(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}"))
            if not finding.ok:
                console.print(plain(f"       {finding.what_to_do}"))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)
