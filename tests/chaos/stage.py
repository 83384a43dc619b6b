"""Chaos for one stage: two real workers over a real stack, hurt at random while a paid API answers with a heavy tail.

    python -m tests.chaos.stage --seeds 5

Load of milliseconds shows nothing: a job has to outlive the commit interval, the lease and its worker.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import ShareCreated
from millrace.contracts.provision import apply_topics, register_schemas
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from millrace.kafka.producer import Producer, open_producer
from millrace.store.migrate import migrate
from tests.chaos.audit import Auditor, Verdict
from tests.chaos.worker import Worker
from tests.conftest import own_stack
from tests.e2e.provider import Provider, serve_provider

SHARES = 150
HURT_FOR_S = 40.0
PAUSES_S = (8.0, 14.0)
"""Below the session time-out of the group, and beyond it: then another worker takes over from one that still runs."""
START_WITHIN_S = 60.0
FINISH_WITHIN_S = 120.0
DOLLARS_IN, DOLLARS_OUT = Decimal("0.50"), Decimal("2.00")
BUDGETS = '[default.summarize]\nhour = "1000"\nday = "1000"\n'
TEXT = "A miller keeps the gate so that the wheel turns at the speed which the stones need, whatever the river does. "


@dataclass
class Stage:
    """What a run needs of the real parts; one after another they share it."""

    stack: Addresses
    codec: Codec
    producer: Producer
    folder: Path
    provider: Provider

    def environment(self) -> dict[str, str]:
        """Settings of every service."""
        budgets = self.folder / "budgets.toml"
        budgets.write_text(BUDGETS)
        return {
            "MILLRACE_KAFKA": self.stack.kafka,
            "MILLRACE_REGISTRY": self.stack.registry,
            "MILLRACE_POSTGRES": self.stack.postgres,
            "MILLRACE_BLOBS": str(self.folder / "blobs"),
            "MILLRACE_BUDGETS": str(budgets),
            "MILLRACE_LEASE_S": "4",
            "MILLRACE_DRAIN_S": "3",
            "OPENAI_API_KEY": "sk-stand-in",
            "MILLRACE_LLM_BASE_URL": self.provider.url,
            "MILLRACE_LLM_MODEL": "stand-in-chat",
            "MILLRACE_LLM_PRICE_IN": str(DOLLARS_IN),
            "MILLRACE_LLM_PRICE_OUT": str(DOLLARS_OUT),
        }


@dataclass
class Report:
    """What a run did and what the audit found."""

    seed: int
    hurts: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    took_s: float = 0.0
    verdict: Verdict = field(default_factory=Verdict)

    def __str__(self) -> str:
        hurts = ", ".join(f"{count} {what}" for what, count in sorted(self.hurts.items()))
        exits = ", ".join(f"{count} x {status}" for status, count in sorted(self.exits.items()))
        problems = "".join(f"\n  PROBLEM {problem}" for problem in self.verdict.problems)
        return f"seed {self.seed}: {self.took_s:.0f} s; {hurts}; exits {exits}; {self.verdict.figures}{problems}"


@asynccontextmanager
async def open_stage(folder: Path) -> AsyncIterator[Stage]:
    """A stack of its own with topics, schemas and tables, the ledger, and the API."""
    data = folder / "stack"
    data.mkdir()
    with own_stack(data) as stack, serve_provider() as provider, Registry(stack.registry) as registry:
        catalog = Catalog.load()
        await apply_topics(stack.kafka, catalog, replication=1, report=lambda _: None)
        await asyncio.to_thread(register_schemas, stack.registry, catalog, lambda _: None)
        await asyncio.to_thread(migrate, stack.postgres)
        codec = await Codec.connect(registry, catalog, ("share.created",))
        async with open_producer(stack.kafka) as producer:
            stage = Stage(stack, codec, producer, folder, provider)
            ledger = Worker("services.cost_ledger", stage.environment(), folder / "ledger.log")
            try:
                yield stage
            finally:
                ledger.end()


def heavy_tail(rng: random.Random) -> float:
    """Seconds an answer takes: most 10-50 ms, a few per cent 4-6 s."""
    return rng.uniform(4, 6) if rng.random() < 0.08 else rng.uniform(0.01, 0.05)


async def run(stage: Stage, seed: int, *, outage: str | None = None, outage_s: float = 0.0) -> Report:
    """One run: share, hurt, let them recover, audit.

    :param outage: a part of the stack (kafka, postgres, registry) that stands still for `outage_s` in the middle.
    """
    rng, loop = random.Random(seed), asyncio.get_running_loop()  # noqa: S311 - a run that can be repeated, no secret
    began, report = loop.time(), Report(seed)
    tail = random.Random(seed + 1)  # noqa: S311
    stage.provider.delay_s = lambda: heavy_tail(tail)
    billed_before = len(stage.provider.invoice)
    shares = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(SHARES)]
    workers = [
        Worker("services.summarize_agent", stage.environment(), stage.folder / f"worker-{seed}-{number}.log")
        for number in range(2)
    ]
    auditor = Auditor(stage.stack, stage.codec, account=f"chaos-{seed}")
    watching = asyncio.create_task(auditor.watch())
    sharing: asyncio.Task[None] | None = None
    away: asyncio.Task[None] | None = None
    try:
        await _until_working(workers)
        sharing = asyncio.create_task(_share(stage, shares, auditor.account))
        if outage is not None:
            away = asyncio.create_task(_stand_still(stage.folder / "stack" / "ready.json", outage, outage_s))
        await _hurt(workers, rng, report.hurts)
        await sharing
        if away is not None:
            await away
            report.hurts[f"{outage} away for {outage_s:.0f} s"] += 1
        deadline = loop.time() + FINISH_WITHIN_S
        while not await auditor.settled(len(shares)) and loop.time() < deadline:
            _tend(workers)
            await asyncio.sleep(0.5)
    finally:
        if sharing is not None:
            sharing.cancel()
        for worker in workers:
            worker.end()
            report.exits += worker.exits
    invoice = stage.provider.total_micro_usd(DOLLARS_IN, DOLLARS_OUT, since=billed_before)
    report.verdict = await auditor.verdict(shares, invoice)
    await watching
    report.took_s = loop.time() - began
    return report


async def _stand_still(ready_file: Path, part: str, seconds: float) -> None:
    """SIGSTOP for a part of the stack with all its children, and SIGCONT."""
    await asyncio.sleep(HURT_FOR_S / 4)
    ready = json.loads(await asyncio.to_thread(ready_file.read_text))
    top = int(ready["pids"][part]["pid"])
    children = await asyncio.to_thread(subprocess.run, ["pgrep", "-P", str(top)], capture_output=True, check=False)
    pids = [top, *map(int, children.stdout.split())]
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _share(stage: Stage, shares: Sequence[str], account: str) -> None:
    """Spread over the time in which workers are hurt."""
    for share in shares:
        event = ShareCreated(
            share_id=share,
            account=account,
            owner="chaos",
            source_kind="text",
            text=f"{TEXT * 3}Copy {share}.",
            platform="web",
            content_type="article",
            created_at=datetime.now(UTC),
        )
        raw = stage.codec.encode("share.created", event)
        await stage.producer.send("share.created", key=share.encode(), value=raw, headers=[])
        await asyncio.sleep(HURT_FOR_S / SHARES)


async def _hurt(workers: Sequence[Worker], rng: random.Random, hurts: Counter[str]) -> None:
    loop = asyncio.get_running_loop()
    end, strike_at = loop.time() + HURT_FOR_S, loop.time()
    while (now := loop.time()) < end or any(worker.paused for worker in workers):
        _tend(workers)
        if strike_at <= now < end and (awake := [worker for worker in workers if await worker.working()]):
            victim, what = rng.choice(awake), rng.choice(("kill", "pause", "stop"))
            hurts[what] += 1
            if what == "pause":
                victim.pause(now + rng.choice(PAUSES_S))
            else:
                victim.signal(signal.SIGKILL if what == "kill" else signal.SIGTERM)
            strike_at = now + rng.uniform(2, 4)
        await asyncio.sleep(0.1)


async def _until_working(workers: Sequence[Worker]) -> None:
    async with asyncio.timeout(START_WITHIN_S):
        for worker in workers:
            while not await worker.working():
                _tend(workers)
                await asyncio.sleep(0.1)


def _tend(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.tend(asyncio.get_running_loop().time())


async def main(first: int, seeds: int, outage: str | None, outage_s: float) -> int:
    """Run several seeds on one stack; the number of runs with problems."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-chaos-"))
    failed = 0
    async with open_stage(folder) as stage:
        for seed in range(first, first + seeds):
            report = await run(stage, seed, outage=outage, outage_s=outage_s)
            failed += bool(report.verdict.problems)
            sys.stdout.write(f"{report}\n")
            sys.stdout.flush()
    if failed:
        sys.stdout.write(f"logs: {folder}\n")
    else:
        shutil.rmtree(folder)
    return failed


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Hurts two workers of a stage and audits what they did.")
    arguments.add_argument("--seeds", type=int, default=1, help="how many runs")
    arguments.add_argument("--first", type=int, default=1, help="seed of the first run")
    arguments.add_argument("--outage", choices=("kafka", "postgres", "registry"), help="a part that stands still")
    arguments.add_argument("--outage-s", type=float, default=30.0, help="for how long")
    chosen = arguments.parse_args()
    raise SystemExit(min(asyncio.run(main(chosen.first, chosen.seeds, chosen.outage, chosen.outage_s)), 1))
