"""The cost ledger beside a row lock in PostgreSQL: `python -m benchmarks.ledger [--json] [--seconds N] [--rounds N]`.

One hot budget. Rounds alternate, so that what else the machine does meets all. Kafka acknowledges from the memory of
its replicas, PostgreSQL from disk: both are shown both ways (Kafka from disk is `flush.messages=1` on the ledger's
topics, PostgreSQL from memory is `synchronous_commit=off`). The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import psutil

from benchmarks import row_lock
from benchmarks.load import PARTITION, Load
from millrace.embedded.readyfile import Addresses
from tests.integration.ledger import TestLedger, ledger
from tests.support.process import Service
from tests.support.stack import own_stack

BUDGETS: Final = '[default.transcribe]\nhour = "1000000.00"\nday = "1000000.00"\n'
CONNECTIONS: Final = (4, 8, 16)
STEADY_RATE: Final = 500.0
TAKEOVER_ROWS, MANY_ROWS = 200_000, 500_000
CAUGHT_UP_WITHIN_S: Final = 300.0
KAFKA_SAYS: Final = (
    "Kafka acknowledges from the memory of its replicas (here one), PostgreSQL from disk; *_from_disk and "
    "*_from_memory show the other way of each"
)


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _ms(latencies: list[float], share: float) -> float:
    return round(sorted(latencies)[int(len(latencies) * share)] * 1000, 1) if latencies else 0.0


@dataclass
class Rates:
    """Admissions a second, one a round."""

    ours: list[float] = field(default_factory=list)
    ours_from_disk: list[float] = field(default_factory=list)
    row_lock: list[float] = field(default_factory=list)
    row_lock_from_memory: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Medians, and ratios of those."""
        ours, disk = statistics.median(self.ours), statistics.median(self.ours_from_disk)
        row, memory = statistics.median(self.row_lock), statistics.median(self.row_lock_from_memory)
        return {
            "ratio_vs_row_lock": round(ours / row, 2),
            "ratio_both_from_memory": round(ours / memory, 2),
            "ratio_both_from_disk": round(disk / row, 2),
            "decisions_per_s": round(ours),
            "decisions_per_s_from_disk": round(disk),
            "row_lock_per_s": round(row),
            "row_lock_per_s_from_memory": round(memory),
            "p50_ms_at_flood": _ms(self.answers, 0.5),
        }


@asynccontextmanager
async def opened(stack: Addresses, folder: Path) -> AsyncIterator[TestLedger]:
    """A ledger of its own; its workers end with it."""
    async with ledger(stack, f"bench{uuid.uuid4().hex[:8]}", stack.postgres, folder, BUDGETS) as made:
        yield made


async def rates(stack: Addresses, load: Load, folder: Path, seconds: float, rounds: int) -> Rates:
    """The flood, ours and the peer's in turn."""
    short = min(5.0, seconds)
    peers = {n: await row_lock.flood(stack.postgres, short, connections=n, durable=True) for n in CONNECTIONS}
    best = max(peers, key=lambda n: peers[n])
    say(f"the peer does best with {best} connections")
    found = Rates()
    async with opened(stack, folder) as on_disk:
        for topic in on_disk.topics.all:
            await on_disk.configure(topic, "flush.messages", "1")
        worker = on_disk.start("admission")
        await worker.ready()
        with closing(await asyncio.to_thread(Load, on_disk)) as load_on_disk:
            for number in range(rounds):
                rate, latencies = await asyncio.to_thread(load.run, seconds, warm_up=3.0)
                found.ours.append(rate)
                found.answers += latencies
                for durable, rates_ in ((True, found.row_lock), (False, found.row_lock_from_memory)):
                    rates_.append(await row_lock.flood(stack.postgres, seconds, connections=best, durable=durable))
                found.ours_from_disk.append((await asyncio.to_thread(load_on_disk.run, short, warm_up=2.0))[0])
                say(
                    f"round {number + 1}: {rate:.0f} decisions/s ({found.ours_from_disk[-1]:.0f} from disk); "
                    f"row lock {found.row_lock[-1]:.0f}/s ({found.row_lock_from_memory[-1]:.0f} from memory)"
                )
        worker.signal(signal.SIGTERM)
        await worker.ended()
    return found


async def caught_up(made: TestLedger) -> None:
    """Wait until the journal has every decision: what a flood has left would be measured otherwise."""
    wanted = sum(end for end in made.ends(made.topics.requests))
    connection = await asyncpg.connect(made.database)
    deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
    try:
        while await connection.fetchval("SELECT count(*) FROM ledger_entries") < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the journal was not complete after {CAUGHT_UP_WITHIN_S:.0f} s")
            await asyncio.sleep(0.5)
    finally:
        await connection.close()


async def _serves(worker: Service) -> bool:
    """Whether a worker decides for the hot account."""
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"{worker.url}/metrics", timeout=5)).text
    return re.search(rf'^millrace_ledger_open_holds\{{partition="{PARTITION}"\}}', text, re.MULTILINE) is not None


async def large(stack: Addresses, folder: Path, seconds: float) -> dict[str, object]:
    """Many open holds on one account: how quickly another worker takes them over, and what they cost the rest."""
    async with opened(stack, folder) as made:
        first = made.start("admission")
        await first.ready()
        with closing(await asyncio.to_thread(Load, made)) as load:
            empty = psutil.Process(first.process.pid).memory_info().rss
            await asyncio.to_thread(load.fill, TAKEOVER_ROWS)
            each = (psutil.Process(first.process.pid).memory_info().rss - empty) / TAKEOVER_ROWS
            say(f"{TAKEOVER_ROWS} open holds, {each:.0f} bytes each")
            second = made.start("admission")
            await second.ready()
            owner, other = (first, second) if await _serves(first) else (second, first)
            owner.signal(signal.SIGKILL)
            takeover = await asyncio.to_thread(load.first_answer_s)
            load_s = await _metric(other, "millrace_ledger_load_seconds")
            say(f"taken over in {takeover:.1f} s after kill -9, {load_s:.1f} s of it to read the rows")
            await asyncio.to_thread(load.fill, MANY_ROWS - TAKEOVER_ROWS)
            _, calm = await asyncio.to_thread(load.run, seconds, rate=STEADY_RATE, warm_up=3.0)
    return {
        "p99_ms_at_500_with_500k_rows": _ms(calm, 0.99),
        "takeover_s_with_200k_rows": round(takeover, 1),
        "load_s_with_200k_rows": round(load_s, 1),
        "bytes_per_open_hold": round(each),
    }


async def _metric(worker: Service, name: str) -> float:
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"{worker.url}/metrics", timeout=5)).text
    return max(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)", text, re.MULTILINE))


async def measure(stack: Addresses, folder: Path, seconds: float, rounds: int) -> dict[str, object]:
    """All figures."""
    async with opened(stack, folder) as made:
        core, tables = made.start("admission"), made.start("spend")
        await asyncio.gather(core.ready(), tables.ready())
        with closing(await asyncio.to_thread(Load, made)) as load:
            found = await rates(stack, load, folder, seconds, rounds)
            await caught_up(made)
            _, calm = await asyncio.to_thread(load.run, seconds * 2, rate=STEADY_RATE, warm_up=3.0)
        for worker in (core, tables):
            worker.signal(signal.SIGTERM)
            await worker.ended()
    peer_calm = await row_lock.steady(stack.postgres, seconds * 2, STEADY_RATE, connections=8)
    return {
        **found.figures(),
        "p50_ms_at_500": _ms(calm, 0.5),
        "p99_ms_at_500": _ms(calm, 0.99),
        "row_lock_p99_ms_at_500": _ms(peer_calm, 0.99),
        **await large(stack, folder, seconds * 2),
        "rounds": rounds,
        "acknowledged": KAFKA_SAYS,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
    }


def main() -> None:
    """Measure on a stack of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="only the last line")
    arguments.add_argument("--seconds", type=float, default=10.0, help="of each round")
    arguments.add_argument("--rounds", type=int, default=3, help="alternating rounds of both")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        data = Path(name) / "stack"
        data.mkdir()
        with own_stack(data) as stack:
            figures = asyncio.run(measure(stack, Path(name), chosen.seconds, chosen.rounds))
    if not chosen.json:
        for figure, value in figures.items():
            say(f"{figure:32} {value}")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
