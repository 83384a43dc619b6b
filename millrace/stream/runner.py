"""One job, start to end: read, plan, lease, work, emit; every error ends in the place that its type names.

| raised                    | the job is               | the record is acknowledged behind        |
| ------------------------- | ------------------------ | ---------------------------------------- |
| nothing                   | done                     | its confirmed event                      |
| (needs a local model, at  | as it was                | the confirmed command on                 |
| a worker without one)     |                          | `<stage>.requested.local`                |
| Skipped                   | skipped, with a result   | its confirmed event, which says why      |
| Denied                    | parked                   | its row in `waiting`                     |
| Cancelled                 | cancelled                | its row in `jobs`                        |
| Paused                    | waiting, not counted     | its row in `waiting`                     |
| Unavailable, LeaseLost    | waiting, not counted     | its row in `waiting`                     |
| Poison                    | failed                   | the confirmed dead letter                |
| Retryable, UnknownOutcome,| waiting, at most 3 tries,| its row in `waiting`, at last the        |
| and what nobody foresaw   | (2 after OverLimit),     | confirmed dead letter                    |
|                           | then failed              |                                          |
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from pydantic import BaseModel, JsonValue

from millrace.clock import Clock
from millrace.contracts.events import ShareEvent
from millrace.errors import Cancelled, ConfigurationError, Denied, Paused, Poison, Skipped, Unavailable
from millrace.ledger.port import Ledger
from millrace.money import ZERO
from millrace.store.calls import CallStore
from millrace.store.cancel import CancelStore
from millrace.store.jobs import JobRow, JobStore
from millrace.store.work import Busy, Done, Mine, WorkStore
from millrace.stream.calls import Calls, LeaseLost, Payer
from millrace.stream.cancel import Stop, Stops
from millrace.stream.checkpoints import Checkpoints
from millrace.stream.endings import Endings, Wait
from millrace.stream.gates import Gates, Passage
from millrace.stream.intake import Ends, Uncounted
from millrace.stream.job import Job, had_its_turn, known_already
from millrace.stream.lease import kept_lease
from millrace.stream.limits import limited
from millrace.stream.messages import FRESH, Incoming, Reader, Writer
from millrace.stream.pool import Message
from millrace.stream.progress import Progress
from millrace.stream.stage import Finished, StageHandler, StageSpec, planned
from millrace.telemetry import metrics

log = logging.getLogger(__name__)
R = TypeVar("R", bound=BaseModel)

OUTAGE_WAIT = timedelta(seconds=10)
"""How long a job waits for a part of our own that is down."""
LEASE_WAIT = timedelta(seconds=5)
"""How soon a job looks again whether another worker has finished the same work, should nobody wake it."""


@dataclass(frozen=True)
class Stores:
    """The tables behind the core, the gates, and how long a lease on work lasts."""

    work: WorkStore
    calls: CallStore
    jobs: JobStore
    gates: Gates
    cancel: CancelStore
    lease: timedelta


class JobRunner(Generic[R]):
    """Executes records of one stage. Nothing escapes `execute` but cancellation."""

    def __init__(
        self,
        spec: StageSpec,
        *,
        handler: StageHandler[R],
        stores: Stores,
        ledger: Ledger,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        ends: Ends | None = None,
        stops: Stops | None = None,
        hands_over: bool = False,
    ) -> None:
        self._spec = spec
        self._handler = handler
        self._stores = stores
        self._ledger = ledger
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._ends = ends or Uncounted()
        self._stops = stops or Stops()
        self._hands_over = hands_over
        self._end = Endings(
            spec, stores.jobs, stores.gates, stores.cancel, writer=writer, clock=clock, ends=self._ends
        )

    async def execute(self, message: Message) -> None:
        """Bring a record to an end that is written down; returns when it may be acknowledged."""
        started = self._clock.now()
        with metrics.ACTIVE_TASKS.labels(self._spec.name).track_inprogress():
            incoming = await self._read(message)
            if incoming is not None:
                await self._run(incoming)
        metrics.TASK_SECONDS.labels(self._spec.name).observe((self._clock.now() - started).total_seconds())

    async def _read(self, message: Message) -> Incoming | None:
        while True:
            try:
                return await self._reader.read(message)
            except (Unavailable, ConfigurationError) as exc:  # the latter: the registry refuses our credentials
                log.warning("%s: %s; trying again", self._spec.name, exc)
                await asyncio.sleep(2)
            except Poison as exc:
                await self._end.bury(message, exc)
                return None
            except Exception as exc:  # whatever a message does to its reader, it must not do that at every start
                log.exception("%s: reading %s@%d failed", self._spec.name, message.at, message.offset)
                await self._end.bury(message, Poison(f"an unexpected {type(exc).__name__} in reading it"))
                return None

    async def _run(self, incoming: Incoming) -> None:
        event = incoming.event
        if not isinstance(event, ShareEvent):
            await self._end.bury(incoming.message, Poison(f"{type(event).__name__} is not about a share"))
            return
        passage = Passage(self._stores.gates, event.account, incoming.let_through)
        await self._bring_to_end(incoming, event, passage)
        await passage.ended()

    async def _bring_to_end(self, incoming: Incoming, event: ShareEvent, passage: Passage) -> None:
        try:
            plan = planned(self._handler, event, incoming.options)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it ends as a dead letter with its stack
            if had_its_turn(incoming, await self._stores.jobs.get(event.share_id, self._spec.name)):
                await self._ends.unused(incoming.message)
            else:
                await self._end.fail(incoming, event, exc, attempt=0, work_key=None)
            return
        if plan is None:
            await self._ends.unused(incoming.message)
            return
        key = plan.work_key(self._spec.name)
        stage, jobs = self._spec.name, self._stores.jobs
        if not incoming.is_command and not (plan.local and self._hands_over):
            job = Job(stage, incoming, plan, key, attempt=0)
            status = job.status("running", self._clock.now())
            mine = await self._stores.work.take_up(status, incoming.ask)
            if mine is not None:
                self._end.show(status)
                await self._attempt_or_fail(job, passage, mine)
                return
        row = await jobs.get(event.share_id, stage)
        if had_its_turn(incoming, row):
            await self._ends.unused(incoming.message)
            return
        if row is not None and row.cancelled_at is not None:
            if not incoming.asked_after(row.cancelled_at):
                await self._wind_up(Job(stage, incoming, plan, row.work_key or key, row.attempt), row)
                await self._ends.unused(incoming.message)
                return
            await self._stores.cancel.revive(event.share_id)
        if incoming.reason in FRESH:
            await jobs.begin_anew(event.share_id, stage, key, incoming.round)
            row = await jobs.get(event.share_id, stage)
        if known_already(incoming, row, key):
            await self._ends.unused(incoming.message)
            return
        same = row if row is not None and row.work_key == key else None
        attempt = same.attempt if same else 0
        job = Job(stage, incoming, plan, key, attempt, same.told_at if same else None)
        await self._attempt_or_fail(job, passage)

    async def _attempt_or_fail(self, job: Job, passage: Passage, taken: Mine | None = None) -> None:
        try:
            if job.plan.local and self._hands_over:
                await self._end.hand_over(job.incoming, job.event)
                passage.handed_over()
            else:
                await self._attempt(job, passage, taken)
        except Poison as exc:
            await self._end.fail(job.incoming, job.event, exc, attempt=job.attempt + 1, work_key=job.work_key)

    async def _attempt(self, job: Job, passage: Passage, taken: Mine | None) -> None:
        """Work, and let the job wait where its error asks for that.

        :raises Poison: trying again cannot help; also when what would be waited with is too large to be written.
        """
        try:
            await self._work(job, passage, taken)
        except Poison:
            raise
        except Cancelled:
            await self._end.cancelled(job)
        except Denied as exc:
            if exc.refusal.room_at is not None:  # else it says nothing about the rest of the queue
                passage.refused()
            await self._end.park(job, exc)
        except Paused as exc:
            await self._end.hold_back(job, exc)
        except (Unavailable, LeaseLost) as exc:
            reason = str(exc) or "another worker took this over"
            await self._end.wait(job, "waiting", Wait("retry", reason, OUTAGE_WAIT))
        except Exception as exc:  # noqa: BLE001 - Retryable, UnknownOutcome and what nobody foresaw: bounded tries
            await self._end.retry(job, exc)

    async def _work(self, job: Job, passage: Passage, taken: Mine | None) -> None:
        claim = taken or await self._stores.work.claim(job.work_key, self._spec.name)
        fence = claim.fence if isinstance(claim, Mine) else None
        first = isinstance(claim, Mine) and claim.first
        calls = Calls(self._stores.calls, self._ledger, self._payer(job), fence, first=first, way=passage)
        match claim:
            case Done():
                await calls.recover()
                await self._finish(job, claim, calls, paid_now=False)
            case Busy():
                why = "another worker is doing the same work"
                await self._end.wait(job, "waiting", Wait("lease", why, LEASE_WAIT))
            case Mine():
                with self._stops.running(job.event.share_id) as stop:
                    done = await self._do(job, claim, calls, stop, shown=taken is not None)
                if done is None:
                    await calls.note_told()
                    raise LeaseLost
                await self._finish(job, done, calls, paid_now=True)

    async def _wind_up(self, job: Job, row: JobRow) -> None:
        """A cancelled job that nobody needs any more, and whose worker may have died: finish what that left open."""
        if row.state == "cancelled":
            return
        claim = await self._stores.work.claim(job.work_key, self._spec.name)
        if isinstance(claim, Busy):
            if await self._stores.cancel.has_open_call(job.event.share_id, job.work_key):
                await self._end.look_again(job, LEASE_WAIT)  # until that worker's lease has run out
                return
        else:
            fence = claim.fence if isinstance(claim, Mine) else None
            await Calls(self._stores.calls, self._ledger, self._payer(job), fence).recover()
            if fence is not None:
                await self._stores.work.give_back(job.work_key, fence)
        await self._end.cancelled(job)

    async def _do(self, job: Job, mine: Mine, calls: Calls, stop: Stop, *, shown: bool) -> Done | None:
        """Work under the lease; None when somebody else has taken over before the result was stored.

        :param shown: it is written down already that the job runs.
        """
        work, key = self._stores.work, job.work_key
        checkpoints = Checkpoints(work, key, mine, self._clock)

        async def leave() -> None:
            await checkpoints.flush()
            await work.give_back(key, mine.fence)

        try:
            async with stop.cuts_off(), kept_lease(work, key, mine.fence, self._stores.lease):
                stays = not shown and not await self._end.running(job)
                if stays and await self._stores.cancel.asked(job.event.share_id):
                    stop.ask()
                    stop.check()
                await calls.recover()
                result = await self._result(job, calls, checkpoints, stop)
                return await work.complete(key, mine.fence, result)
        except BaseException as exc:
            if isinstance(exc, Exception) and await work.renew(key, mine.fence):
                await calls.recover()  # a call that the stage's limit cut off; there may be no next try to find it
            # Also when this job is cancelled: the next worker need not wait for the lease to run out.
            await asyncio.shield(leave())
            raise

    async def _result(self, job: Job, calls: Calls, checkpoints: Checkpoints, stop: Stop) -> JsonValue:
        run = Progress(
            calls,
            self._stores.jobs,
            checkpoints,
            share_id=job.event.share_id,
            stage=self._spec.name,
            clock=self._clock,
            stop=stop,
        )
        try:
            async with limited(self._spec, lambda: self._end.overdue(job)):
                result = await self._handler.work(job.plan, run)
        except Skipped as exc:
            result = self._handler.skipped(job.plan, str(exc))
        encoded: JsonValue = result.model_dump(mode="json")
        return encoded

    async def _finish(self, job: Job, done: Done, calls: Calls, *, paid_now: bool) -> None:
        result = self._handler.result_type.model_validate(done.result)
        finished = Finished(job.work_key, result, done.cost, done.finished_at)
        event = self._handler.event(job.plan, finished)
        told_at = job.tells_at(done.finished_at)
        try:
            _, settled = await asyncio.gather(
                self._writer.result(self._spec.output, event, job.work_key, job.incoming.traceparent, told_at),
                calls.all_told(),
            )
        except Exception:
            await calls.note_told()
            raise
        skipped = getattr(event, "skipped_reason", None)  # media.ready has none: media are there or fail
        cost = done.cost if paid_now else ZERO
        await self._end.published(job, told_at, settled, skipped=skipped, cost=cost)

    def _payer(self, job: Job) -> Payer:
        return Payer(job.event.account, self._spec.name, job.event.share_id, job.work_key, self._spec.hold_for)
