"""What the chaos commands have in common: progress for people, one JSON line at the end, and what is left behind."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def say(line: str) -> None:
    """Progress for people."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def conclude(
    report: Mapping[str, object], violations: Sequence[str], folder: Path, *, keep: bool, quiet: bool
) -> int:
    """Print the report as the last line, remove the folder when all is well; the exit status, 0 when all is well.

    :param keep: leave the folder in any case.
    :param quiet: do not tell people about the violations; they are in the report too.
    """
    ok = bool(report["ok"])
    if not quiet:
        for sentence in violations:
            say(f"PROBLEM {sentence}")
    sys.stdout.write(f"{json.dumps(report)}\n")
    if ok and not keep:
        shutil.rmtree(folder)
    else:
        say(f"logs: {folder}")
    return 0 if ok else 1
