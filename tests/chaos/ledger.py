"""Chaos for the cost ledger: workers and broker are hurt at random while clients fight for a few budgets.

    python -m tests.chaos.ledger --seed 1 [--minutes 2] [--brokers 3] [--json] [--control KIND]

The last line is one JSON object. `ok` means: no cap exceeded, every request answered once, the same id always the
same answer, nothing heard that is not in the log, the journal agrees with it, the audit is clean; and that there was
pressure. Of the kinds of worker in `ledger_worker.py`, `worst-moment` must end ok, the others must not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import asyncpg

from tests.chaos.command import conclude, say
from tests.chaos.ledger_oracle import Finding, examine
from tests.chaos.ledger_parts import FIRST_CAP, PARTITIONS, Ledger, open_ledger
from tests.chaos.worker import STOP_YOURSELF, Worker
from tests.support.brokers import BROKERS

KILLS, PAUSES, BROKER_RESTARTS, REBALANCES = 5, 3, 1, 2
PAUSE_S: Final = (11.0, 15.0)
"""Beyond the session time-outs of both groups, 6 s and 10 s."""
RAISED_BY: Final = 200_000
RAISED_EVERY_S: Final = 2.0
PEAK: Final = 0.95
WAKE_S: Final = 0.4
AT_THE_WORST_MOMENT: Final = ("worst-moment", "no-fencing")
"""Kinds of worker that are paused between deciding and writing, and whose successor dies when they wake up."""
FINISH_WITHIN_S: Final = 180.0
STUCK_S: Final = 90.0
"""Without a worker that works for so long nothing more is to be seen."""


@dataclass
class Report:
    """What was done and what came of it."""

    seed: int
    minutes: float
    brokers: int
    control: str | None
    ok: bool = False
    took_s: float = 0.0
    schedule: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    peak_ratio: float = 0.0
    audit: dict[str, object] | None = None
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    exits: dict[int, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


def plan_of(seed: int, minutes: float, control: str | None, brokers: int) -> list[tuple[float, str]]:
    """When to do what: the same for the same seed. At least what `ok` asks for, more in a longer run."""
    chance = random.Random(seed)  # noqa: S311  # a schedule, no secret
    if control in AT_THE_WORST_MOMENT:
        return [(chance.uniform(6.0, 9.0), "pause") for _ in range(3 * PAUSES)]
    times = max(1.0, minutes / 2)
    what = ["kill"] * int(KILLS * times) + ["pause"] * int(PAUSES * times) + ["broker"] * (BROKER_RESTARTS * brokers)
    what += ["join", "leave"] * int(REBALANCES / 2 * times)
    chance.shuffle(what)
    return [(chance.uniform(1.0, 4.0), one) for one in what]


async def _working(ledger: Ledger) -> Sequence[Worker]:
    return [worker for worker in ledger.workers if await worker.working()]


async def _wake_alone(ledger: Ledger, now: float) -> int:
    """Where a former owner wakes up its successors die, and a moment later itself: what it wrote is loaded.

    How many had really stopped where they were asked to.
    """
    waking = [worker for worker in ledger.workers if worker.wakes(now)]
    if not waking:
        return 0
    stopped = sum(worker.stopped for worker in waking)
    for worker in ledger.workers:
        if worker not in waking:
            worker.signal(signal.SIGKILL)
    for worker in waking:
        worker.tend(now)
    await asyncio.sleep(WAKE_S)
    for worker in waking:
        worker.signal(signal.SIGKILL)
    return stopped


async def _hurt(ledger: Ledger, report: Report, done: Counter[str]) -> list[str]:
    chance = random.Random(report.seed + 1)  # noqa: S311
    began = time.monotonic()
    steps = plan_of(report.seed, report.minutes, report.control, report.brokers)
    report.schedule = [f"{gap:.1f} s, {what}" for gap, what in steps]
    cap, raise_at = FIRST_CAP, began
    act_at = began + 5
    while (
        (steps and time.monotonic() - act_at < STUCK_S)
        or time.monotonic() - began < report.minutes * 60
        or any(w.paused for w in ledger.workers)
    ):
        now = time.monotonic()
        if report.control in AT_THE_WORST_MOMENT:
            done["stopped"] += await _wake_alone(ledger, now)
        ledger.tend()
        if now >= raise_at:
            cap += RAISED_BY
            ledger.raise_caps(cap)
            raise_at = now + RAISED_EVERY_S
        if steps and now >= act_at and (awake := await _working(ledger)):
            _, what = steps.pop(0)
            done[what] += 1
            say(f"{now - began:5.0f} s  {what}")
            match what:
                case "kill":
                    chance.choice(awake).signal(signal.SIGKILL)
                case "pause":
                    how = STOP_YOURSELF if report.control in AT_THE_WORST_MOMENT else signal.SIGSTOP
                    chance.choice(awake).pause(now + chance.uniform(*PAUSE_S), how)
                case "broker":
                    ledger.restart_broker(chance)
                case "join":
                    ledger.add_worker()
                case _ if len(ledger.workers) > 2 and not ledger.workers[-1].paused:
                    await asyncio.to_thread(ledger.drop_worker)
                case _:
                    ledger.add_worker()
            act_at = time.monotonic() + (steps[0][0] if steps else 0)
        await asyncio.sleep(0.1)
    return [f"no worker worked for {STUCK_S:.0f} s"] if steps else []


async def _finish(ledger: Ledger) -> list[str]:
    """Let clients hear their last answers, and the ledger decide and record what is left."""
    for client in ledger.clients:
        client.send_signal(signal.SIGTERM)
    within_s = FINISH_WITHIN_S / 6 if ledger.control in ("no-fencing", "answer-first") else FINISH_WITHIN_S
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        ledger.tend()
        if all(client.poll() is not None for client in ledger.clients):
            behind = await asyncio.to_thread(ledger.behind)
            if behind == 0:
                return []
        await asyncio.sleep(0.5)
    return [f"requests were still not decided {within_s:.0f} s after the last one"]


async def _journal_agrees(ledger: Ledger, finding: Finding) -> list[str]:
    """Every decision has its entry, and they add up to what the oracle has."""
    deadline = time.monotonic() + FINISH_WITHIN_S
    connection = await asyncpg.connect(ledger.stack.postgres)
    entries = used = 0
    try:
        while time.monotonic() < deadline:
            ledger.tend()
            entries = await connection.fetchval("SELECT count(*) FROM ledger_entries")
            if entries >= finding.counts["decisions"]:
                break
            await asyncio.sleep(0.5)
        used = await connection.fetchval(
            "SELECT coalesce(sum(settled_change + held_change + unconfirmed_change), 0)::bigint FROM ledger_entries"
        )
    finally:
        await connection.close()
    wrong = []
    if entries != finding.counts["decisions"]:
        wrong.append(f"{entries} entries in the journal for {finding.counts['decisions']} decisions")
    if used != finding.counts["used"]:
        wrong.append(f"the journal adds up to {used}, the log to {finding.counts['used']}")
    return wrong


async def _audited(ledger: Ledger) -> dict[str, object]:
    """The ledger's own audit, as an operator would run it while the ledger works."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.cost_ledger.books",
        "audit",
        "--json",
        env={**os.environ, **ledger.environment},
        stdout=subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    report = json.loads(printed) if printed else {"ok": False, "ended_with": process.returncode}
    assert isinstance(report, dict)
    return report


async def run(folder: Path, seed: int, minutes: float, control: str | None = None, *, brokers: int = 1) -> Report:
    """One run."""
    report, done, began = Report(seed, minutes, brokers, control), Counter[str](), time.monotonic()
    async with open_ledger(folder, control, brokers) as ledger:
        for _ in range(2):
            ledger.add_worker()
        while len(await _working(ledger)) < 2:
            ledger.tend()
            await asyncio.sleep(0.2)
        say("two workers are ready")
        ledger.start_clients(seed)
        late = await _hurt(ledger, report, done)
        late += await _finish(ledger)
        heard, latencies, unanswered = ledger.heard()
        finding = await asyncio.to_thread(examine, ledger.stack.kafka, "", PARTITIONS, heard)
        report.violations = [*late, *finding.violations]
        if control in (None, "worst-moment"):
            report.violations += await _journal_agrees(ledger, finding)
            report.audit = await _audited(ledger)
            if not report.audit["ok"]:
                failed = "did not come to its end" if "ended_with" in report.audit else "found differences"
                report.violations.append(f"the audit {failed}")
    if unanswered:
        report.violations.append(f"clients heard no answer to {unanswered} requests")
    report.took_s = round(time.monotonic() - began, 1)
    report.exits = dict(ledger.exits)
    report.peak_ratio = round(finding.peak, 4)
    latencies.sort()
    if latencies:
        report.p50_ms = round(latencies[len(latencies) // 2] * 1000, 1)
        report.p99_ms = round(latencies[int(len(latencies) * 0.99)] * 1000, 1)
    pauses, kills = done["pause"], done["kill"]
    report.counts = {
        **finding.counts,
        "kills": kills,
        "pauses": pauses,
        "broker_restarts": done["broker"],
        "rebalances": done["join"] + done["leave"],
    }
    if control in AT_THE_WORST_MOMENT:
        report.counts["stopped"] = done["stopped"]
        hurt = done["stopped"] >= PAUSES
    else:
        hurt = kills >= KILLS and pauses >= PAUSES
    report.ok = report.peak_ratio >= PEAK and hurt and not report.violations
    return report


def main() -> int:
    """0 when all is well."""
    arguments = argparse.ArgumentParser(description="Hurts the cost ledger and audits what it did.")
    arguments.add_argument("--seed", type=int, required=True, help="names the schedule")
    arguments.add_argument("--minutes", type=float, default=2.0, help="at least so long")
    arguments.add_argument("--json", action="store_true", help="no words, only the last line")
    arguments.add_argument("--brokers", type=int, choices=(1, BROKERS), default=1, help="three: replicated topics")
    kinds = (*AT_THE_WORST_MOMENT, "answer-first")
    arguments.add_argument("--control", choices=kinds, help="see ledger_worker.py: the last two must not end ok")
    arguments.add_argument("--keep", action="store_true", help="keep logs and data")
    chosen = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="millrace-ledger-chaos-"))
    report = asyncio.run(run(folder, chosen.seed, chosen.minutes, chosen.control, brokers=chosen.brokers))
    return conclude(asdict(report), report.violations, folder, keep=chosen.keep, quiet=chosen.json)


if __name__ == "__main__":
    raise SystemExit(main())
