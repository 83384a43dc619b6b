"""Prints what a shell sets to use a running stack: `eval "$(python scripts/use_stack.py READY_FILE [--service])"`.

For tests (MILLRACE_TEST_KAFKA and the like), or with --service for services by hand (MILLRACE_KAFKA and the like).
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path


def main() -> None:
    """See the module."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("ready_file", type=Path)
    arguments.add_argument("--service", action="store_true", help="for services, not for tests")
    chosen = arguments.parse_args()
    found = json.loads(chosen.ready_file.read_text())
    prefix = "MILLRACE" if chosen.service else "MILLRACE_TEST"
    for name in ("kafka", "registry", "postgres"):
        print(f"export {prefix}_{name.upper()}={shlex.quote(found[name])}")  # noqa: T201


if __name__ == "__main__":
    main()
