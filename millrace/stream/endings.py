"""Where a job goes: done, parked, waiting or failed, each written down before it is shown.

A record may be acknowledged once one of these has returned.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from millrace import ids
from millrace.clock import Clock
from millrace.contracts.dead import ROUND_HEADER
from millrace.contracts.events import RequestReason, ShareEvent, TaskState
from millrace.errors import Denied, MillraceError, OverLimit, Paused, Poison, Refusal, Retryable, UnknownOutcome
from millrace.ids import RequestId
from millrace.kafka.records import Message
from millrace.money import MicroUSD
from millrace.store.gate_names import budget_gate
from millrace.store.turns import Turn
from millrace.store.waiting import Shut, Waiting
from millrace.stream.backoff import backoff
from millrace.stream.core import Stores
from millrace.stream.dead_breaker import JobObserver
from millrace.stream.gates import what_is_left
from millrace.stream.incoming import Incoming, Original, place_of, round_of
from millrace.stream.job import AnyJob, failed_status, sentence
from millrace.stream.limits import in_words
from millrace.stream.reader import LONGEST_ID
from millrace.stream.stage import StageSpec
from millrace.stream.statuses import Statuses
from millrace.stream.writer import Writer
from millrace.telemetry import metrics
from millrace.text import storable

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""Tries of a job, over all restarts, before it becomes a dead letter (feature A9)."""
MAX_ATTEMPTS_OVER_LIMIT = 2
"""Tries of a job that has just reached its stage's hard limit (feature A8)."""
NEVER = datetime.max.replace(tzinfo=UTC)
"""Due time of work that no window will ever have room for under the present caps."""


_SLUG = re.compile(r"[a-z][a-z-]{0,30}")
"""Reasons to skip look like that; a label must not take what anybody writes."""


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

    def __init__(
        self,
        spec: StageSpec,
        stores: Stores,
        *,
        writer: Writer,
        statuses: Statuses,
        clock: Clock,
        observer: JobObserver,
    ) -> None:
        self._spec = spec
        self._cancel = stores.cancel
        self._jobs = stores.jobs
        self._gates = stores.gates
        self._writer = writer
        self._clock = clock
        self._observer = observer
        self._statuses = statuses

    async def running(self, job: AnyJob) -> bool:
        """The job runs; False when it stays as it is."""
        status = job.status("running", self._clock.now())
        changed = await self._jobs.put(status, job.incoming.ask)
        if changed:
            self._statuses.show(status)
        return changed

    async def published(
        self, job: AnyJob, told_at: datetime, settled: Sequence[RequestId], *, skipped: str | None, cost: MicroUSD
    ) -> None:
        """The job's event is out.

        :param settled: calls that the ledger has been told of.
        :param skipped: why there is no result to speak of, if so.
        """
        state: TaskState = "skipped" if skipped else "done"
        status = job.status(state, self._clock.now(), reason=skipped, cost=cost)
        metrics.TASKS.labels(self._spec.name, state).inc()
        if skipped:
            metrics.SKIPPED.labels(self._spec.name, skipped if _SLUG.fullmatch(skipped) else "other").inc()
        metrics.COST.labels(self._spec.name, job.plan.model).inc(cost / 1_000_000)
        if await self._jobs.publish(status, job.incoming.ask, told_at=told_at, settled=settled):
            await self._statuses.tell(status)
        elif await self._cancel.deleted(job.event.share_id):  # while its event went out
            await self.deleted(job.event.share_id)
        await self._observer.ended(job.incoming.message, dead=False)

    async def cancelled(self, job: AnyJob) -> None:
        """The job was stopped because its share was cancelled, unless it was asked for anew meanwhile."""
        status = await self._cancel.ended(job.event.share_id)
        if status is not None:
            log.info("%s %s: cancelled", self._spec.name, job.event.share_id)
            metrics.TASKS.labels(self._spec.name, "cancelled").inc()
            await self._statuses.tell(status)
            await self._cancel.told(status)
        elif await self._cancel.deleted(job.event.share_id):
            await self.deleted(job.event.share_id)

    async def deleted(self, share_id: str) -> None:
        """The share was deleted. The gateway has told so, but what this stage told of it may have come later."""
        log.info("%s %s: deleted", self._spec.name, share_id)
        await self._writer.tombstone(self._spec.output, share_id)
        await self._statuses.gone(share_id, self._spec.name)

    async def look_again(self, job: AnyJob, after: timedelta) -> None:
        """A job that is being cancelled is looked at again; its state stays as it is."""
        await self._cancel.come_back(
            self._message(job, Wait("lease", "is being cancelled", after), job.incoming.turn)
        )

    async def hand_over(self, incoming: Incoming, event: ShareEvent) -> None:
        """A worker with a local model goes on with it; the job's state is that worker's to write.

        :raises Poison: the command is larger than its topic takes.
        """
        topic, message = self._spec.requested_local, incoming.message
        if incoming.is_command:
            value, about = message.value, {**message.headers, ROUND_HEADER: incoming.round.encode()}
        else:
            value = self._writer.command(self._spec.name, topic, incoming, event, "local")
            about = {name: text.encode() for name, text in incoming.carried_headers(incoming.turn).items()}
        await self._writer.forward(topic, message.key, value, list(about.items()))
        await self._observer.unused(message)

    async def overdue(self, job: AnyJob) -> None:
        """The job has reached the stage's soft limit, and still runs."""
        stage, share_id = self._spec.name, job.event.share_id
        soft, hard = in_words(self._spec.soft_limit), in_words(self._spec.hard_limit)
        metrics.OVERDUE.labels(stage).inc()
        log.warning("%s %s has been running for %s; it is ended after %s", stage, share_id, soft, hard)
        status = await self._jobs.remark(share_id, stage, f"takes longer than {soft}; it is ended after {hard}")
        if status is not None:
            await self._statuses.tell(status)

    async def park(self, job: AnyJob, denied: Denied) -> None:
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

    async def hold_back(self, job: AnyJob, paused: Paused) -> None:
        """The model fails for everybody: wait until it is tried again."""
        shut = Shut(str(paused)) if paused.shuts else None
        await self.wait(job, "waiting", Wait("retry", str(paused), paused.wait, gate=paused.gate, shut=shut))

    async def retry(self, job: AnyJob, error: Exception) -> None:
        """One try is used up: wait with growing delay, or give up after the last one."""
        attempt = job.attempt + 1
        if attempt >= (MAX_ATTEMPTS_OVER_LIMIT if isinstance(error, OverLimit) else MAX_ATTEMPTS):
            await self.fail(job.incoming, job.event, error, attempt=attempt, work_key=job.work_key)
            return
        metrics.TASK_ERRORS.labels(self._spec.name, type(error).__name__).inc()
        metrics.RETRIES.labels(self._spec.name).inc()
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

    async def wait(self, job: AnyJob, state: TaskState, wait: Wait) -> None:
        """The job waits; what wakes it is written with its state, in one transaction.

        :raises Poison: the command that would wake it is larger than its topic takes.
        """
        event, spec, now = job.event, self._spec, self._clock.now()
        if wait.reason == "lease":
            metrics.LEASE_WAITS.labels(spec.name).inc()
        at = wait.due if isinstance(wait.due, datetime) else now + wait.due
        resume_at = None if at == NEVER else at
        ask = job.incoming.ask_after_waiting(now)
        status = job.status(
            state, now, reason=storable(wait.why), attempt=wait.attempt, resume_at=resume_at, refusal=wait.refusal
        )
        message = self._message(job, wait, ask.turn)
        log.info("%s %s: %s until %s: %s", spec.name, event.share_id, state, resume_at or "its cap changes", wait.why)
        shut = wait.shut and replace(wait.shut, was_let_through=job.incoming.let_through == wait.gate)
        told = await self._jobs.wait(status, message, ask, shut=shut)
        if shut is not None:
            await self._gates.look()
        await asyncio.gather(*map(self._statuses.tell, told))
        if status not in told:
            await self.cancelled(job)  # it stays as it is because of that, or has ended

    def _message(self, job: AnyJob, wait: Wait, turn: Turn | None) -> Waiting:
        """What brings the job back."""
        event, spec = job.event, self._spec
        return Waiting(
            due=wait.due,
            stage=spec.name,
            share_id=event.share_id,
            account=event.account,
            topic=spec.requested,
            key=event.share_id.encode(),
            value=self._writer.command(spec.name, spec.requested, job.incoming, event, wait.reason),
            headers=job.incoming.carried_headers(turn),
            gate=wait.gate,
            # Whom a model fails goes behind the others: were it the cause itself, it would try for all of them.
            place=job.incoming.place if wait.reason == "budget" else None,
        )

    async def fail(
        self, incoming: Incoming, event: ShareEvent, error: Exception, *, attempt: int, work_key: ids.WorkKey | None
    ) -> None:
        """Given up on: the original bytes become a dead letter, then the job is failed."""
        stage, now = self._spec.name, self._clock.now()
        if await self._cancel.deleted(event.share_id):  # then nothing of it is kept as a dead letter either
            await self.deleted(event.share_id)
            await self._observer.unused(incoming.message)
            return
        log.error("%s %s failed: %s", stage, event.share_id, error, exc_info=_unforeseen(error))
        metrics.TASK_ERRORS.labels(stage, type(error).__name__).inc()
        metrics.DEAD_LETTERS.labels(stage).inc()
        metrics.TASKS.labels(stage, "failed").inc()
        await self._writer.dead_letter(
            stage,
            self._spec.dead,
            incoming.original,
            error,
            round_=incoming.round,
            share_id=event.share_id,
            attempts=attempt,
            work_key=work_key,
            options=incoming.options,
        )
        status = failed_status(event, stage, now, reason=sentence(error, stage), attempt=attempt, work_key=work_key)
        if await self._jobs.put(status, incoming.ask):
            await self._statuses.tell(status)
        await self._observer.ended(incoming.message, dead=True)

    async def bury(self, message: Message, error: Poison) -> None:
        """A message that cannot be read becomes a dead letter; where its key names a share, that job has failed."""
        stage = self._spec.name
        share_id = message.key.decode("utf-8", "replace").replace("\0", "")[:LONGEST_ID]
        if await self._cancel.deleted(share_id):
            await self._observer.unused(message)
            return
        log.error("%s: unreadable message at %s@%d: %s", stage, message.at, message.offset, error)
        metrics.DEAD_LETTERS.labels(stage).inc()
        original = Original(place_of(message), message.key, message.value, message.headers)
        await self._writer.dead_letter(
            stage, self._spec.dead, original, error, round_=round_of(message), share_id=share_id, attempts=0
        )
        status = await self._jobs.fail_unreadable(share_id, stage, f"the message could not be read: {error}")
        if status is not None:
            await self._statuses.tell(status)
        await self._observer.ended(message, dead=True)


def _unforeseen(error: Exception) -> Exception | None:
    """The error itself when nobody meant to raise it: its stack belongs in the log."""
    return None if isinstance(error, MillraceError) else error
