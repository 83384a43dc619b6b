"""Four stages in a row, beside peers: `python -m benchmarks.pipeline [--json] [--rounds N] [--only SYSTEM]`.

The same chain with null models in Millrace with everything on, in Celery over RabbitMQ and in stock Faust, in turn on
the same machine; each round starts each system anew on a fresh broker, with empty tables. Flood: a backlog of shares
is published while the warm workers are stopped (SIGSTOP); the clock runs from the moment they go on to the last
share's end. Latency: from before a share is published at 20 a second to its end. A share ends when this process hears
of it from its last stage.

A share that is lost or finished twice, or books that do not show one micro-dollar a stage, end the run with status 1.
The last line is JSON.
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
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.peers import cpu
from benchmarks.peers.celery_chain import ask_for_celery, open_celery
from benchmarks.peers.chain import BenchError, Chain, NotInstalled, new_ids
from benchmarks.peers.faust_chain import open_faust
from benchmarks.peers.millrace_chain import open_millrace

RATE: Final = 20.0
WARM_UP: Final = 500
SYSTEMS: Final[dict[str, Callable[[Path], AbstractAsyncContextManager[Chain]]]] = {
    "millrace": open_millrace,
    "celery": open_celery,
    "faust": open_faust,
}


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def percentile(latencies: list[float], part: float) -> float:
    """Milliseconds, of seconds."""
    return round(sorted(latencies)[int(len(latencies) * part)] * 1000, 1)


@dataclass
class Found:
    """What the rounds of one system gave: shares a second, and milliseconds."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu_ms: list[dict[str, float]] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    books: list[dict[str, object]] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Medians over the rounds, and each round."""
        return {
            "shares_per_s": round(statistics.median(self.rates), 1),
            "p50_ms_at_20": round(statistics.median(self.p50), 1),
            "p99_ms_at_20": round(statistics.median(self.p99), 1),
            "cpu_ms_per_share": round(statistics.median(one["all"] for one in self.cpu_ms), 2),
            "rounds": {
                "shares_per_s": [round(rate, 1) for rate in self.rates],
                "p50_ms_at_20": self.p50,
                "p99_ms_at_20": self.p99,
                "cpu_ms_per_share": self.cpu_ms,
            },
            "settings": self.settings,
            "versions": self.versions,
            **({"books": self.books} if self.books else {}),
        }


async def flood(chain: Chain, shares: int, found: Found) -> None:
    """Shares a second out of a backlog, and the processor time until everything about them is written down."""
    ids = new_ids(shares)
    chain.pause()
    try:
        await chain.share(ids)
    finally:
        before, began = cpu.seconds(chain.pids), time.perf_counter()
        chain.resume()
    found.rates.append(shares / (max(await chain.finished(ids)) - began))
    if chain.books is not None:
        await chain.books(chain.shared)
    found.cpu_ms.append(cpu.per_share(before, cpu.seconds(chain.pids), shares))


async def steady(chain: Chain, seconds: float) -> list[float]:
    """Seconds from before a share is published to its end, at RATE."""
    ids = new_ids(int(RATE * seconds))
    sent: list[float] = []
    began = time.perf_counter()
    async with asyncio.TaskGroup() as publishing:
        for number, share in enumerate(ids):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            sent.append(time.perf_counter())
            publishing.create_task(chain.share([share]))
    ended = await chain.finished(ids)
    return [end - start for start, end in zip(sent, ended, strict=True)]


async def measure(name: str, found: Found, shares: int, seconds: float) -> None:
    """One round of one system."""
    with tempfile.TemporaryDirectory(prefix=f"millrace-bench-{name}-") as folder:
        async with SYSTEMS[name](Path(folder)) as chain:
            warm = new_ids(WARM_UP)
            await chain.share(warm)
            await chain.finished(warm)
            await flood(chain, shares, found)
            latencies = await steady(chain, seconds)
            chain.finishes.check(chain.shared)
            if chain.books is not None:
                found.books.append(await chain.books(chain.shared))
                chain.finishes.check(chain.shared)
            found.settings, found.versions = chain.settings, chain.versions
    found.p50.append(percentile(latencies, 0.5))
    found.p99.append(percentile(latencies, 0.99))
    say(
        f"  {name:9} {found.rates[-1]:7.1f} shares/s, {found.cpu_ms[-1]['all']:6.2f} ms of processor a share; "
        f"at {RATE:.0f} shares/s p50 {found.p50[-1]} ms, p99 {found.p99[-1]} ms"
    )


def report(found: dict[str, Found], chosen: argparse.Namespace) -> dict[str, object]:
    """The last line."""
    medians = {name: statistics.median(one.rates) for name, one in found.items()}
    ratios = {
        f"ratio_vs_{peer}": round(medians["millrace"] / medians[peer], 2)
        if {"millrace", peer} <= set(medians)
        else None
        for peer in ("celery", "faust")
    }
    ours = statistics.median(found["millrace"].p50) if "millrace" in found else None
    return {
        **ratios,
        "p50_ms_at_20": ours,
        "systems": {name: one.figures() for name, one in found.items()},
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
            await measure(name, found[name], chosen.shares, chosen.seconds)
    return report(found, chosen)


def main() -> int:
    """0: measured. 1: a share was lost or finished twice, or the books are wrong. 2: something is not installed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="no table, only the last line")
    arguments.add_argument("--rounds", type=int, default=3, help="of all systems in turn [3]")
    arguments.add_argument("--shares", type=int, default=2000, help="of the backlog [2000]")
    arguments.add_argument("--seconds", type=float, default=20.0, help="at 20 shares a second [20]")
    arguments.add_argument("--only", choices=tuple(SYSTEMS), help="one system alone")
    chosen = arguments.parse_args()
    try:
        figures = asyncio.run(run(chosen))
    except BenchError as exc:
        say(str(exc))
        return 2 if isinstance(exc, NotInstalled) else 1
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
