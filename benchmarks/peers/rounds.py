"""One round of one system: warm up, flood, a steady rate, and whether everything came out as it must."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from benchmarks.peers import counters, cpu
from benchmarks.peers.chain import Chain, new_ids

RATE: Final = 20.0
WARM_UP: Final = 500


def percentile(latencies: list[float], part: float) -> float:
    """Milliseconds, of seconds."""
    return round(sorted(latencies)[int(len(latencies) * part)] * 1000, 1)


@dataclass
class Found:
    """What the rounds of one system gave: shares a second, milliseconds, and the part of the machine others took."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu_ms: list[dict[str, float]] = field(default_factory=list)
    cpu_ms_at_20: list[dict[str, float]] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    books: list[dict[str, object]] = field(default_factory=list)
    counted: list[dict[str, float]] = field(default_factory=list)
    counted_at_20: list[dict[str, float]] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """Medians over the rounds, and each round."""
        return {
            "shares_per_s": round(statistics.median(self.rates), 1),
            "p50_ms_at_20": round(statistics.median(self.p50), 1),
            "p99_ms_at_20": round(statistics.median(self.p99), 1),
            "cpu_ms_per_share": round(statistics.median(one["all"] for one in self.cpu_ms), 2),
            "cpu_ms_per_share_at_20": round(statistics.median(one["all"] for one in self.cpu_ms_at_20), 2),
            "rounds": {
                "shares_per_s": [round(rate, 1) for rate in self.rates],
                "p50_ms_at_20": self.p50,
                "p99_ms_at_20": self.p99,
                "cpu_ms_per_share": self.cpu_ms,
                "cpu_ms_per_share_at_20": self.cpu_ms_at_20,
                "machine_taken_by_others": self.others,
            },
            "settings": self.settings,
            "versions": self.versions,
            **({"books": self.books} if self.books else {}),
            **({"per_share": self.counted, "per_share_at_20": self.counted_at_20} if self.counted else {}),
        }


async def measure(chain: Chain, found: Found, shares: int, seconds: float, *, profile: bool) -> None:
    """:raises Broken: a share was lost or finished twice, or the books are wrong."""
    warm = new_ids(WARM_UP)
    await chain.share(warm)
    await chain.finished(warm)
    counting = chain.counted if profile else None
    async with _counted(chain, counting, shares, found.counted):
        await _flood(chain, shares, found)
    ids = new_ids(int(RATE * seconds))
    async with _counted(chain, counting, len(ids), found.counted_at_20):
        await _steady(chain, ids, found)
    if chain.books is not None:
        found.books.append(await chain.books(chain.shared))
    chain.finishes.check(chain.shared)
    found.settings, found.versions = chain.settings, chain.versions


@asynccontextmanager
async def _counted(
    chain: Chain, counting: counters.Counting | None, shares: int, found: list[dict[str, float]]
) -> AsyncIterator[None]:
    """What the system asks of its database and broker meanwhile, a share."""
    if counting is None:
        yield
        return
    before = await _settled(chain, counting)
    yield
    found.append(counters.per_share(before, await _settled(chain, counting), shares))


async def _settled(chain: Chain, counting: counters.Counting) -> dict[str, float]:
    """Counts, once all that went before is in them."""
    if chain.books is not None:
        await chain.books(chain.shared)
    await asyncio.sleep(counters.TOLD_AFTER_S)
    return await counting()


async def _flood(chain: Chain, shares: int, found: Found) -> None:
    """Shares a second out of a backlog, and the processor time until everything about them is written down."""
    ids = new_ids(shares)
    chain.pause()
    try:
        await chain.share(ids)
    finally:
        before, machine, began = cpu.seconds(chain.pids), cpu.machine(), time.perf_counter()
        chain.resume()
    ended = max(await chain.finished(ids))
    if chain.books is not None:
        await chain.books(chain.shared)
    after, passed = cpu.seconds(chain.pids), time.perf_counter() - began
    found.rates.append(shares / (ended - began))
    found.cpu_ms.append(cpu.per_share(before, after, shares))
    ours = sum(after.values()) - sum(before.values())
    found.others.append(cpu.part(cpu.machine() - machine - ours, passed))


async def _steady(chain: Chain, ids: Sequence[str], found: Found) -> None:
    """Milliseconds from before a share is published to its end, at RATE; and processor time, waiting included."""
    sent: list[float] = []
    before, began = cpu.seconds(chain.pids), time.perf_counter()
    async with asyncio.TaskGroup() as publishing:
        for number, share in enumerate(ids):
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            sent.append(time.perf_counter())
            publishing.create_task(chain.share([share]))
    latencies = [end - start for start, end in zip(sent, await chain.finished(ids), strict=True)]
    found.cpu_ms_at_20.append(cpu.per_share(before, cpu.seconds(chain.pids), len(ids)))
    found.p50.append(percentile(latencies, 0.5))
    found.p99.append(percentile(latencies, 0.99))
