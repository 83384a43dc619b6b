"""How much the first view of the page transfers, and how soon it can be used, in a real Chromium on this machine.

    python -m benchmarks.page [--json] [--rounds 5]

Each round is a tab with nothing in its cache. The last line is JSON: `bytes` of heads and compressed bodies together,
`usable_s` of each round until the button that adds a share is there, and the smallest and the middle of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.transcribe import say
from tests.e2e.browser import open_browser, tab, transferred
from tests.e2e.harness import Running, millrace_up

BUTTON = "Add share"


def measure(running: Running, rounds: int) -> dict[str, object]:
    """All rounds."""
    times: list[float] = []
    with open_browser() as browser:
        with tab(browser, running) as cold:
            size = transferred(cold, "/")
        for number in range(rounds):
            with tab(browser, running) as fresh:
                began = time.monotonic()
                fresh.goto("/", wait_until="commit")
                fresh.get_by_role("button", name=BUTTON).wait_for()
                times.append(round(time.monotonic() - began, 3))
                say(f"round {number + 1} of {rounds}: {times[-1]:.3f} s")
    return {"bytes": size, "usable_s": times, "best_s": min(times), "median_s": statistics.median(times)}


def main() -> int:
    """0: measured."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="progress and the last line, no table")
    arguments.add_argument("--rounds", type=int, default=5, help="tabs that are opened, one after another [5]")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name, millrace_up(Path(name), {}) as running:
        figures = measure(running, chosen.rounds)
    if not chosen.json:
        for label, value in figures.items():
            say(f"{label:10} {value}")
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
