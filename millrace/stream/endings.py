"""Where a job goes: done, parked, waiting or failed, each written down before it is shown.

A record may be acknowledged once one of these has returned.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from millrace import ids
from millrace.clock import Clock
from millrace.contracts.events import RequestReason, ShareEvent, TaskState
from millrace.errors import Denied, MillraceError, Paused, Poison, Refusal, Retryable, UnknownOutcome
from millrace.money import ZERO, MicroUSD
from millrace.store.jobs import JobStore
from millrace.store.waiting import Shut, Waiting
from millrace.stream.backoff import backoff
from millrace.stream.gates import Gates, budget_gate, what_is_left
from millrace.stream.job import Job, failed_status, sentence
from millrace.stream.messages import Incoming, Writer
from millrace.stream.pool import Message
from millrace.stream.stage import StageSpec
from millrace.telemetry import metrics

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Tries of a job, over all restarts, before it becomes a dead letter (feature A9)."""
NEVER = datetime.max.replace(tzinfo=UTC)
"""Due time of work that no window will ever have room for under the present caps."""


@dataclass(frozen=True)
class Wait:
    """Why a job waits, until when (or for how long), and behind which gate; `shut` closes that for others, too."""

    reason: RequestReason
    why: str
    due: datetime | timedelta
    attempt: int | None = None
    refusal: Refusal | None = None
    gate: str | None = None
    shut: Shut | None = None


class Endings:
    """Writes down how jobs of one stage end, and tells it on `task.status`."""

    def __init__(self, spec: StageSpec, jobs: JobStore, gates: Gates, writer: Writer, clock: Clock) -> None:
        self._spec = spec
        self._jobs = jobs
        self._gates = gates
        self._writer = writer
        self._clock = clock

    async def report(
        self,
        job: Job,
        state: TaskState,
        *,
        reason: str | None = None,
        cost: MicroUSD = ZERO,
        told_at: datetime | None = None,
    ) -> None:
        """The job runs, or its event is out, with the time of the latter."""
        status = job.status(state, self._clock.now(), reason=reason, cost=cost)
        if told_at is not None:
            metrics.TASKS.labels(self._spec.name, state).inc()
            metrics.COST.labels(self._spec.name, job.plan.model).inc(cost / 1_000_000)
        if await self._jobs.put(status, job.incoming.ask, told_at=told_at):
            await self._writer.status(status)

    async def park(self, job: Job, denied: Denied) -> None:
        """The ledger refused: wait for the window that has room. Who needs as much and waits, too, waits as long."""
        refusal = denied.refusal
        metrics.BUDGET_EXCEEDED.labels(self._spec.name, refusal.cap).inc()
        shuts = denied.asked and refusal.room_at is not None  # more than a cap will ever have stops nobody else
        await self.wait(
            job,
            "parked",
            Wait(
                "budget",
                str(denied),
                refusal.room_at or NEVER,
                refusal=refusal,
                gate=budget_gate(job.event.account),
                shut=Shut(f"waits with others: {what_is_left(refusal)}", refusal) if shuts else None,
            ),
        )

    async def hold_back(self, job: Job, paused: Paused) -> None:
        """The model fails for everybody: wait until it is tried again."""
        shut = Shut(str(paused)) if paused.shuts else None
        await self.wait(job, "waiting", Wait("retry", str(paused), paused.wait, gate=paused.gate, shut=shut))

    async def retry(self, job: Job, error: Exception) -> None:
        """One try is used up: wait with growing delay, or give up after the last one."""
        attempt = job.attempt + 1
        if attempt >= MAX_ATTEMPTS:
            await self.fail(job.incoming, job.event, error, attempt=attempt, work_key=job.work_key)
            return
        metrics.TASK_ERRORS.labels(self._spec.name, type(error).__name__).inc()
        log.warning("%s %s: try %d failed", self._spec.name, job.event.share_id, attempt, exc_info=_unforeseen(error))
        why = sentence(error, self._spec.name)
        paused = error.paused if isinstance(error, UnknownOutcome) else None
        if paused is not None:
            shut = Shut(str(paused)) if paused.shuts else None
            wait = Wait("retry", why, paused.wait, attempt, gate=paused.gate, shut=shut)
        else:
            asked = error.retry_after_s if isinstance(error, Retryable) else None
            due = backoff(attempt, random.random(), asked)  # noqa: S311 - jitter spreads load; nothing is secret
            wait = Wait("retry", why, due, attempt)
        await self.wait(job, "waiting", wait)

    async def wait(self, job: Job, state: TaskState, wait: Wait) -> None:
        """The job waits; what wakes it is written with its state, in one transaction.

        :raises Poison: the command that would wake it is larger than its topic takes.
        """
        event, spec, now = job.event, self._spec, self._clock.now()
        at = wait.due if isinstance(wait.due, datetime) else now + wait.due
        resume_at = None if at == NEVER else at
        ask = job.incoming.ask_after_waiting(now)
        status = job.status(
            state, now, reason=wait.why, attempt=wait.attempt, resume_at=resume_at, refusal=wait.refusal
        )
        message = Waiting(
            due=wait.due,
            stage=spec.name,
            share_id=event.share_id,
            account=event.account,
            topic=spec.requested,
            key=event.share_id.encode(),
            value=self._writer.command(spec.name, spec.requested, job.incoming, event, wait.reason),
            headers=job.incoming.waiting_headers(ask.turn),
            gate=wait.gate,
        )
        log.info("%s %s: %s until %s: %s", spec.name, event.share_id, state, resume_at or "its cap changes", wait.why)
        told = await self._jobs.wait(status, message, ask, shut=wait.shut)
        if wait.shut is not None:
            await self._gates.look()
        await asyncio.gather(*map(self._writer.status, told))

    async def fail(
        self, incoming: Incoming, event: ShareEvent, error: Exception, *, attempt: int, work_key: ids.WorkKey | None
    ) -> None:
        """Given up on: the original bytes become a dead letter, then the job is failed."""
        stage, now = self._spec.name, self._clock.now()
        log.error("%s %s failed: %s", stage, event.share_id, error, exc_info=_unforeseen(error))
        metrics.TASK_ERRORS.labels(stage, type(error).__name__).inc()
        metrics.DEAD_LETTERS.labels(stage).inc()
        metrics.TASKS.labels(stage, "failed").inc()
        await self._writer.dead_letter(self._spec.dead, incoming.origin, error, attempt)
        status = failed_status(event, stage, now, reason=sentence(error, stage), attempt=attempt, work_key=work_key)
        if await self._jobs.put(status, incoming.ask):
            await self._writer.status(status)

    async def bury(self, message: Message, error: Poison) -> None:
        """A message that cannot be read becomes a dead letter; where its key names a share, that job has failed."""
        stage = self._spec.name
        log.error("%s: unreadable message at %s@%d: %s", stage, message.at, message.offset, error)
        metrics.DEAD_LETTERS.labels(stage).inc()
        await self._writer.dead_letter(self._spec.dead, message, error, attempts=0)
        share_id = message.key.decode("utf-8", "replace").replace("\0", "")
        await self._jobs.fail_unreadable(share_id, stage, f"the message could not be read: {error}")


def _unforeseen(error: Exception) -> Exception | None:
    """The error itself when nobody meant to raise it: its stack belongs in the log."""
    return None if isinstance(error, MillraceError) else error
