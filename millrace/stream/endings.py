"""Where a job goes: done, parked, waiting or failed, each written down before it is shown.

A record may be acknowledged once one of these has returned.
"""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta

from millrace import ids
from millrace.clock import Clock
from millrace.contracts.events import RequestReason, ShareEvent, TaskState
from millrace.errors import Denied, MillraceError, Poison, Refusal, Retryable
from millrace.money import ZERO, MicroUSD
from millrace.store.jobs import JobStore, Waiting
from millrace.stream.backoff import backoff
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


class Endings:
    """Writes down how jobs of one stage end, and tells it on `task.status`."""

    def __init__(self, spec: StageSpec, jobs: JobStore, writer: Writer, clock: Clock) -> None:
        self._spec = spec
        self._jobs = jobs
        self._writer = writer
        self._clock = clock

    async def report(
        self,
        job: Job,
        state: TaskState,
        *,
        reason: str | None = None,
        cost: MicroUSD = ZERO,
        published: bool = False,
    ) -> None:
        """The job runs, or its event is out (`published`)."""
        status = job.status(state, self._clock.now(), reason=reason, cost=cost)
        if published:
            metrics.TASKS.labels(self._spec.name, state).inc()
            metrics.COST.labels(self._spec.name, job.plan.model).inc(cost / 1_000_000)
        if await self._jobs.put(status, published=published, anew=job.incoming.asked_for):
            await self._writer.status(status)

    async def park(self, job: Job, denied: Denied) -> None:
        """The ledger refused: wait for the window that has room."""
        metrics.BUDGET_EXCEEDED.labels(self._spec.name, denied.refusal.cap).inc()
        due = denied.refusal.room_at or NEVER
        await self.wait(job, "parked", "budget", str(denied), due, refusal=denied.refusal)

    async def retry(self, job: Job, error: Exception) -> None:
        """One try is used up: wait with growing delay, or give up after the last one."""
        attempt = job.attempt + 1
        if attempt >= MAX_ATTEMPTS:
            await self.fail(job.incoming, job.event, error, attempt=attempt, work_key=job.work_key)
            return
        asked = error.retry_after_s if isinstance(error, Retryable) else None
        due = backoff(attempt, random.random(), asked)  # noqa: S311 - jitter spreads load; nothing secret hangs on it
        metrics.TASK_ERRORS.labels(self._spec.name, type(error).__name__).inc()
        log.warning("%s %s: try %d failed", self._spec.name, job.event.share_id, attempt, exc_info=_unforeseen(error))
        await self.wait(job, "waiting", "retry", sentence(error, self._spec.name), due, attempt=attempt)

    async def wait(
        self,
        job: Job,
        state: TaskState,
        reason: RequestReason,
        why: str,
        due: datetime | timedelta,
        *,
        attempt: int | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        """The job waits; what wakes it is written with its state, in one transaction.

        :raises Poison: the command that would wake it is larger than its topic takes.
        """
        event, spec, now = job.event, self._spec, self._clock.now()
        at = due if isinstance(due, datetime) else now + due
        resume_at = None if at == NEVER else at
        status = job.status(state, now, reason=why, attempt=attempt, resume_at=resume_at, refusal=refusal)
        message = Waiting(
            due=due,
            stage=spec.name,
            share_id=event.share_id,
            account=event.account,
            topic=spec.requested,
            key=event.share_id.encode(),
            value=self._writer.command(spec.name, spec.requested, job.incoming, event, reason),
            headers=job.incoming.trace_headers(),
        )
        log.info("%s %s: %s until %s: %s", spec.name, event.share_id, state, resume_at or "its cap changes", why)
        if await self._jobs.wait(status, message, anew=job.incoming.asked_for):
            await self._writer.status(status)

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
        if await self._jobs.put(status, anew=incoming.asked_for):
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
