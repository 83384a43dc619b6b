"""Four stages in a row, beside peers: `python -m benchmarks.pipeline [--json] [--rounds N] [--only SYSTEM]`.

The same chain with null models in Millrace with everything on, in Celery over RabbitMQ and in stock Faust, in turn on
the same machine; each round starts each system anew on a fresh broker, with empty tables. Flood: a backlog of shares
is published while the warm workers are stopped (SIGSTOP); the clock runs from the moment they go on to the last
share's end. Latency: from before a share is published at 20 a second to its end. A share ends when this process hears
of it from its last stage. What each system is and is not, and its settings, are in its module under `peers/` and in
the last line. Processor time a share has brokers and databases in it.

Exit status: 1 when a share is lost, finishes twice, or is not booked with one micro-dollar a stage; 2 when a peer is
not installed. The last line is JSON: `ratio_vs_celery`, `p50_ms_at_20` (medians over the rounds), all figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import rounds
from benchmarks.peers.celery_chain import POOLS, ask_for_celery, open_celery
from benchmarks.peers.chain import BenchError, Chain, NotInstalled
from benchmarks.peers.faust_chain import open_faust
from benchmarks.peers.millrace_chain import open_millrace
from benchmarks.peers.rounds import RATE, Found

SYSTEMS: Final = ("millrace", "celery", "faust")


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def opened(name: str, folder: Path, chosen: argparse.Namespace) -> AbstractAsyncContextManager[Chain]:
    """A system, started anew."""
    match name:
        case "millrace":
            return open_millrace(folder)
        case "celery":
            return open_celery(folder, chosen.celery_pool)
        case _:
            return open_faust(folder)


async def measure(name: str, found: Found, chosen: argparse.Namespace) -> None:
    """One round of one system."""
    with tempfile.TemporaryDirectory(prefix=f"millrace-bench-{name}-") as folder:
        async with opened(name, Path(folder), chosen) as chain:
            await rounds.measure(chain, found, chosen.shares, chosen.seconds, profile=chosen.profile)
    say(
        f"  {name:9} {found.rates[-1]:7.1f} shares/s, {found.cpu_ms[-1]['all']:6.2f} ms of processor a share; "
        f"at {RATE:.0f} shares/s p50 {found.p50[-1]} ms, p99 {found.p99[-1]} ms; "
        f"others took {found.others[-1]:.0%} of the machine"
    )
    if chosen.profile:
        tell_profile("at flood", found.cpu_ms[-1], found.counted[-1:])
        tell_profile(f"at {RATE:.0f} shares/s", found.cpu_ms_at_20[-1], found.counted_at_20[-1:])


def tell_profile(when: str, spent: dict[str, float], counted: list[dict[str, float]]) -> None:
    """What a share takes."""
    say(f"    a share {when} takes")
    for process, ms in spent.items():
        say(f"    {ms:9.2f} ms of processor in {process}")
    for figure, count in [item for one in counted for item in one.items()]:
        say(f"    {count:9.2f} {figure}")


def report(found: dict[str, Found], chosen: argparse.Namespace) -> dict[str, object]:
    """The last line."""
    systems = {name: one.figures() for name, one in found.items()}
    return {
        **ratios(found, "ratio_vs", lambda one: statistics.median(one.rates)),
        "p50_ms_at_20": systems.get("millrace", {}).get("p50_ms_at_20"),
        **ratios(found, "cpu_ratio_vs", lambda one: statistics.median(cpu["all"] for cpu in one.cpu_ms)),
        "systems": systems,
        "rounds": chosen.rounds,
        "shares": chosen.shares,
        "seconds": chosen.seconds,
        "rate_per_s": RATE,
        "machine": {
            "cores": os.cpu_count(),
            "load_at_end": [round(load, 1) for load in os.getloadavg()],
            "system": platform.platform(),
            "python": platform.python_version(),
        },
    }


def ratios(found: dict[str, Found], name: str, figure: Callable[[Found], float]) -> dict[str, float | None]:
    """Millrace's figure by each peer's; None where one was not measured."""
    return {
        f"{name}_{peer}": round(figure(found["millrace"]) / figure(found[peer]), 3)
        if {"millrace", peer} <= set(found)
        else None
        for peer in SYSTEMS[1:]
    }


def show(figures: dict[str, Any]) -> None:
    """Single figures, those of systems behind their names."""
    systems = figures["systems"]
    for name, one in [("", figures), *((f"{name} ", found) for name, found in systems.items())]:
        for figure, value in one.items():
            if isinstance(value, int | float):
                say(f"{name + figure:32} {value}")


async def run(chosen: argparse.Namespace) -> dict[str, object]:
    """All rounds; the systems take turns, another one first each time."""
    names = [chosen.only] if chosen.only else list(SYSTEMS)
    if "celery" in names:
        ask_for_celery()
    found = {name: Found() for name in names}
    for number in range(chosen.rounds):
        say(f"round {number + 1} of {chosen.rounds}, load {os.getloadavg()[0]:.1f}")
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            await measure(name, found[name], chosen)
    return report(found, chosen)


def main() -> int:
    """0: measured. 1: a share was lost or finished twice, or the books are wrong. 2: something is not installed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="progress and the last line, no table")
    arguments.add_argument("--rounds", type=int, default=3, help="of all systems in turn [3]")
    arguments.add_argument("--shares", type=int, default=2000, help="of the backlog [2000]")
    arguments.add_argument("--seconds", type=float, default=20.0, help="at 20 shares a second [20]")
    arguments.add_argument("--only", choices=SYSTEMS, help="one system alone")
    arguments.add_argument("--celery-pool", choices=tuple(POOLS), default="solo", help="how Celery runs tasks [solo]")
    arguments.add_argument(
        "--profile", action="store_true", help="show where a share's time goes, by process and table"
    )
    chosen = arguments.parse_args()
    try:
        figures = asyncio.run(run(chosen))
    except BenchError as exc:
        say(str(exc))
        return 2 if isinstance(exc, NotInstalled) else 1
    if not chosen.json:
        show(figures)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
