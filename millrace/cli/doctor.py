"""`millrace doctor`: is everything here that the embedded stack needs?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.console import plain, show
from millrace.cli.exits import FAILED, one_sentence
from millrace.embedded.doctor import examine
from millrace.embedded.paths import default_data


def doctor(
    data: Annotated[Path | None, typer.Option(help="Data folder to look at; the default one otherwise")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Check this machine, and say what is missing.

    Ends 1 when something is, with what to do about it.
    """
    with one_sentence():
        findings = examine((data or default_data()).absolute())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            show(plain(f"{'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}"))
            if not finding.ok:
                show(plain(f"       {finding.what_to_do}"))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)
