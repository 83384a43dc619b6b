"""Chaos for jobs: workers of a real stage, the broker and the database are hurt while a paid API answers slowly.

    python -m tests.chaos.jobs --seed 1 [--minutes 2] [--json] [--control KIND] [--long-s 840] [--stage links]

The last line is one JSON object. `ok` means: every share has one summary and one completion of its work, the provider
was called once for each work and once more for each outcome that nobody knew, no commit passed unfinished work or
stood still for a minute, work of a killed worker was taken over within a minute, the books agree with the invoice;
and that there was pressure. Of the kinds of worker in `job_worker.py`, `skipping` must end ok, those after it must
not.

Load of milliseconds shows nothing: a job has to outlive the commit interval, the lease and its worker.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos import job_log
from tests.chaos.audit import Auditor
from tests.chaos.command import conclude, say
from tests.chaos.job_log import Harm, Hurt
from tests.chaos.jobs_parts import Load, Stage, open_stage
from tests.chaos.target import TARGETS
from tests.chaos.worker import Worker

KILLS, PAUSES = 5, 3
BASIC: Final = {"kill": KILLS, "pause": PAUSES, "join": 1, "leave": 2, "kafka": 1, "postgres": 1}
"""What happens in a run, in an order of chance; proportionally more in one that is longer than BASIC_MINUTES."""
BASIC_MINUTES: Final = 1.2
EVERY_S: Final = (3.5, 7.0)
PAUSES_S: Final = (8.0, 14.0)
"""Below the session time-out of the group, and beyond it: then another worker takes over from one that still runs."""
DATABASE_BACK_S: Final = 15.0
NOTICED_S: Final = 1.0
"""Within which an end is seen."""
WAKING_S: Final = 5.0
"""How long after a pause a lease may be found to have run out."""
LEASES_S: Final = (30, 6)
"""The default, and one that a pause outlasts."""
LEAST_SLOW: Final = 0.03
WITHIN_S: Final = 60.0
"""For a takeover, and for a commit that stands still."""
START_WITHIN_S: Final = 60.0
FINISH_WITHIN_S: Final = 150.0
GIVE_UP_AFTER_S: Final = 45.0
"""What must fail is not waited for so long."""
MUST_FAIL: Final = ("acks-out-of-order", "no-fence", "no-gap-guard")
SHOWN: Final = 20


@dataclass
class Report:
    """What a run did and what was found."""

    seed: int
    minutes: float
    control: str | None
    long_s: float
    lease_s: int
    named: bool
    ok: bool = False
    took_s: float = 0.0
    schedule: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    slow_share: float = 0.0
    longest_still_s: float = 0.0
    longest_still: str = ""
    longest_takeover_s: float = 0.0
    exits: Counter[int] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


def plan_of(seed: int, minutes: float) -> list[tuple[float, str]]:
    """What to do, and how many seconds after the one before: the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - a schedule, no secret
    times = max(1.0, minutes / BASIC_MINUTES)
    what = [name for name, count in BASIC.items() for _ in range(int(count * times))]
    chance.shuffle(what)
    return [(chance.uniform(*EVERY_S), one) for one in what]


class Chaos:
    """Hurts the workers and the parts of one stage, and remembers it."""

    def __init__(self, stage: Stage, report: Report, *, spare: str | None) -> None:
        """:param spare: whoever works on this share is not killed."""
        self.workers: list[Worker] = []
        self.hurts: list[Hurt] = []
        self._stage = stage
        self._report = report
        self._spare = spare
        self._chance = random.Random(report.seed + 1)  # noqa: S311

    def add_worker(self) -> None:
        """One more."""
        stage, report = self._stage, self._report
        env = stage.environment() | {
            "MILLRACE_LEASE_S": str(report.lease_s),
            # Half of the seeds without names: then every restart makes the whole group stand still for a while.
            "MILLRACE_INSTANCE": f"worker-{report.counts['workers']}" if report.named else "",
            "MILLRACE_LLM_TIMEOUT_S": str(report.long_s + 120),
        }
        log = stage.folder / f"worker-{report.seed}-{report.counts['workers']}.log"
        report.counts["workers"] += 1
        kind = report.control or ("long" if report.long_s else None)
        if kind is None:
            self.workers.append(Worker(stage.target.module, env, log))
        else:
            self.workers.append(Worker("tests.chaos.job_worker", env, log, kind))

    def tend(self) -> None:
        """What a supervisor would do."""
        for worker in self.workers:
            worker.tend(time.monotonic())

    async def until_working(self) -> None:
        """Before anything is hurt all must have started."""
        async with asyncio.timeout(START_WITHIN_S):
            for worker in self.workers:
                while not await worker.working():
                    self.tend()
                    await asyncio.sleep(0.1)

    async def run(self) -> None:
        """Everything of the plan, and so long as was asked for; at the end nobody is paused."""
        report, began = self._report, time.monotonic()
        due = began
        for wait, what in plan_of(report.seed, report.minutes):
            due = max(due, time.monotonic()) + wait
            await self._tend_until(due)
            while not await self._strike(what):
                await self._tend_until(time.monotonic() + 0.5)
            passed = f"{time.monotonic() - began:5.1f} s, {what}"
            say(passed)
            report.schedule.append(passed.strip())
            report.counts[what] += 1
        await self._tend_until(began + report.minutes * 60)
        while any(worker.paused for worker in self.workers):
            await self._tend_until(time.monotonic() + 0.1)

    async def _tend_until(self, when: float) -> None:
        while time.monotonic() < when:
            self.tend()
            await asyncio.sleep(0.1)

    async def _strike(self, what: str) -> bool:
        """False: nobody who could be hurt is there at present."""
        match what:
            case "kafka" | "postgres":
                self._stage.restart(what)
                if what == "postgres":
                    self._note("database", None, DATABASE_BACK_S)
                return True
            case "join":
                self.add_worker()
                return True
        awake = [worker for worker in self.workers if await worker.working()]
        if what != "pause" and self._spare is not None:
            spared = await asyncio.to_thread(self._stage.owner_of, self._spare)
            awake = [worker for worker in awake if worker.process.pid != spared]
        if not awake:
            return False
        victim = self._chance.choice(awake)
        match what:
            case "kill":
                self._note("kill", victim.process.pid, math.inf)
                victim.signal(signal.SIGKILL)
            case "pause":
                seconds = self._chance.uniform(*PAUSES_S)
                self._note("pause", victim.process.pid, seconds)
                victim.pause(time.monotonic() + seconds)
            case "leave":
                self._note("leave", victim.process.pid, math.inf)
                victim.signal(signal.SIGTERM)
        return True

    def _note(self, what: Harm, pid: int | None, seconds: float) -> None:
        # A lease is renewed at a third of it, so what lasts less than the rest takes no work from anybody.
        if seconds > self._report.lease_s * 2 / 3:
            now = time.time()
            self.hurts.append(Hurt(what, pid, now, now + seconds + WAKING_S))

    def end(self) -> None:
        """Nothing is left running."""
        for worker in self.workers:
            worker.end()
            self._report.exits += worker.exits
            # Also those that ended by themselves, say because of a gap.
            self.hurts += [Hurt("ended", pid, at - NOTICED_S, math.inf) for pid, at in worker.ended_at.items()]


async def run(stage: Stage, seed: int, minutes: float, *, control: str | None = None, long_s: float = 0.0) -> Report:
    """One run: share, hurt, let them recover, judge."""
    began = time.monotonic()
    lease_s = LEASES_S[0] if long_s else LEASES_S[seed % 2 == 0]
    report = Report(seed, minutes, control, long_s, lease_s, named=seed % 4 < 2)
    account = f"chaos-{seed}"
    load = Load(stage, seed, account, long_s)
    auditor = Auditor(
        stage.stack, stage.codec, stage.target, account=account, long_share=load.first if long_s else None
    )
    chaos = Chaos(stage, report, spare=load.first if long_s else None)
    watching = asyncio.create_task(auditor.watch())
    try:
        for _ in range(2):
            chaos.add_worker()
        await chaos.until_working()
        sharing = asyncio.create_task(load.share())
        await chaos.run()
        load.stop()
        await sharing
        say(f"{len(load.texts)} shares; waiting for the last ones")
        deadline = time.monotonic() + (GIVE_UP_AFTER_S if control in MUST_FAIL else FINISH_WITHIN_S + long_s)
        while not await auditor.settled(len(load.texts)) and time.monotonic() < deadline:
            chaos.tend()
            await asyncio.sleep(0.5)
    finally:
        chaos.end()
    await judge(report, auditor, load, chaos.hurts)
    await watching
    auditor.close()
    report.took_s = round(time.monotonic() - began, 1)
    return report


async def judge(report: Report, auditor: Auditor, load: Load, hurts: list[Hurt]) -> None:
    """Look at everything that is left behind."""
    verdict = await auditor.verdict(list(load.texts), load.invoice_micro_usd())
    works = await asyncio.to_thread(auditor.works)
    keys = set(works.values())
    noted = [one for one in await asyncio.to_thread(job_log.read, auditor.postgres) if one.work_key in keys]
    unknown = job_log.unknown_outcomes(noted)
    calls = load.calls()
    paid = Counter({works.get(text, text): count for text, count in calls.items()})
    delays = job_log.takeovers(noted, hurts)
    report.longest_takeover_s = round(max(delays, default=0.0), 1)
    report.longest_still_s, report.longest_still = round(auditor.still.longest_s, 1), auditor.still.where
    report.slow_share = round(load.slow / max(calls.total(), 1), 4)
    report.violations = [
        *verdict.violations,
        *job_log.not_completed_once(noted, keys),
        *job_log.taken_from_the_living(noted, hurts),
        *(
            f"work {key} was called {count} times, with {unknown[key]} unknown outcomes"
            for key, count in paid.items()
            if count > 1 + unknown[key]
        ),
    ]
    if report.longest_takeover_s > WITHIN_S:
        report.violations.append(f"work of a killed worker waited {report.longest_takeover_s} s for another one")
    if report.longest_still_s > WITHIN_S:
        report.violations.append(f"a commit stood still for {report.longest_still_s} s")
    if report.long_s and calls[load.first] != 1:
        report.violations.append(f"the long job was called {calls[load.first]} times")
    what = Counter(one.what for one in noted)
    report.counts += verdict.counts
    report.counts.update(
        shares=len(load.texts),
        works=len(keys),
        claims=what["claimed"],
        completions=what["completed"],
        provider_calls=calls.total(),
        slow_calls=load.slow,
        unknown_outcomes=unknown.total(),
        takeovers=len(delays),
        violations=len(report.violations),
    )
    pressure = report.counts["kill"] >= KILLS and report.counts["pause"] >= PAUSES and report.slow_share >= LEAST_SLOW
    report.ok = pressure and not report.violations


async def _run_alone(folder: Path, chosen: argparse.Namespace) -> Report:
    async with open_stage(folder, TARGETS[chosen.stage]) as stage:
        return await run(stage, chosen.seed, chosen.minutes, control=chosen.control, long_s=chosen.long_s)


def main() -> int:
    """0: ok."""
    arguments = argparse.ArgumentParser(description="Hurt the workers of a stage, and audit what they did.")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--minutes", type=float, default=BASIC_MINUTES, help="at least so long")
    arguments.add_argument("--json", action="store_true", help="no words, only the last line")
    arguments.add_argument("--control", choices=("skipping", *MUST_FAIL), help="see job_worker.py")
    arguments.add_argument("--long-s", type=float, default=0.0, help="one job takes so long, and must run once")
    arguments.add_argument("--stage", choices=tuple(TARGETS), default="summarize", help="the stage that is hurt")
    arguments.add_argument("--keep", action="store_true", help="keep logs and data")
    chosen = arguments.parse_args()
    if chosen.stage != "summarize" and (chosen.control or chosen.long_s):
        arguments.error("--control and --long-s are workers of the summarize stage")
    folder = Path(tempfile.mkdtemp(prefix="millrace-jobs-chaos-"))
    report = asyncio.run(_run_alone(folder, chosen))
    shown = {**vars(report), "violations": report.violations[:SHOWN]}
    return conclude(shown, report.violations, folder, keep=chosen.keep, quiet=chosen.json)


if __name__ == "__main__":
    raise SystemExit(main())
