"""One attempt at a job: lease, work, result, event; every error ends in the place that its type names.

| raised                    | the job is               | the record is acknowledged behind        |
| ------------------------- | ------------------------ | ---------------------------------------- |
| nothing                   | done                     | its confirmed event                      |
| (needs a local model, at  | as it was                | the confirmed command on                 |
| a worker without one)     |                          | `<stage>.requested.local`                |
| Skipped                   | skipped, with a result   | its confirmed event, which says why      |
| Denied                    | parked                   | its row in `waiting`                     |
| Cancelled                 | cancelled, or gone with  | its row in `jobs`, or the confirmed      |
|                           | its share                | tombstones                               |
| Paused                    | waiting, not counted     | its row in `waiting`                     |
| Deferred                  | waiting, not counted     | its row in `waiting`                     |
| Unavailable, LeaseLost    | waiting, not counted     | its row in `waiting`                     |
| Poison                    | failed                   | the confirmed dead letter                |
| Retryable, UnknownOutcome,| waiting, at most 3 tries,| its row in `waiting`, at last the        |
| and what nobody foresaw   | (2 after OverLimit),     | confirmed dead letter                    |
|                           | then failed              |                                          |
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final, Generic

from pydantic import JsonValue, ValidationError

from millrace.contracts.events import SkippableEvent
from millrace.errors import Cancelled, Deferred, Denied, Paused, Poison, Skipped, Unavailable
from millrace.money import ZERO
from millrace.store.ask import JobRow
from millrace.store.work import Busy, Done, Mine
from millrace.stream.calls import Calls, LeaseLost, Payer
from millrace.stream.cancel import Stop
from millrace.stream.checkpoints import Checkpoints
from millrace.stream.core import Core
from millrace.stream.endings import Endings, Wait
from millrace.stream.gates import Passage
from millrace.stream.job import AnyJob, Job
from millrace.stream.job_run import JobRun
from millrace.stream.lease import kept_lease
from millrace.stream.limits import limited
from millrace.stream.recovery import Recovery, finish_left
from millrace.stream.stage import E, Finished, R

OUTAGE_WAIT: Final = timedelta(seconds=10)
"""How long a job waits for a part of our own that is down."""
LEASE_WAIT: Final = timedelta(seconds=5)
"""How soon a job looks again whether another worker has finished the same work, should nobody wake it."""


class Attempt(Generic[E, R]):
    """An attempt at one job.

    :param taken: the lease on its work, where that came with writing down that the job runs.
    """

    def __init__(
        self, core: Core[E, R], end: Endings, job: Job[E], passage: Passage, *, taken: Mine | None = None
    ) -> None:
        self._core = core
        self._end = end
        self._job = job
        self._passage = passage
        self._taken = taken

    async def run(self) -> None:
        """Bring the job to an end that is written down."""
        job = self._job
        try:
            if job.plan.local and self._core.hands_over:
                await self._end.hand_over(job.incoming, job.event)
                self._passage.handed_over()
            else:
                await self._work_or_wait()
        except Poison as exc:
            await self._end.fail(job.incoming, job.event, exc, attempt=job.attempt + 1, work_key=job.work_key)

    async def _work_or_wait(self) -> None:
        """Work, and let the job wait where its error asks for that.

        :raises Poison: trying again cannot help; also when what would be waited with is too large to be written.
        """
        job, end = self._job, self._end
        try:
            await self._work()
        except Poison:
            raise
        except Cancelled:
            await end.cancelled(job)
        except Denied as exc:
            if exc.refusal.room_at is not None:  # else it says nothing about the rest of the queue
                self._passage.refused()
            await end.park(job, exc)
        except Paused as exc:
            await end.hold_back(job, exc)
        except Deferred as exc:
            await end.wait(job, "waiting", Wait("batch", str(exc), exc.wait))
            if exc.look is not None:
                await exc.look()
        except (Unavailable, LeaseLost) as exc:
            reason = str(exc) or "another worker took this over"
            await end.wait(job, "waiting", Wait("retry", reason, OUTAGE_WAIT))
        except Exception as exc:  # noqa: BLE001 - Retryable, UnknownOutcome and what nobody foresaw: bounded tries
            await end.retry(job, exc)

    async def _work(self) -> None:
        core, job = self._core, self._job
        match self._taken or await self._claimed():
            case Done() as claim:
                calls = Calls(core.stores.calls, core.ledger, self._payer())
                await calls.recover()
                await self._finish(claim, calls, paid_now=False)
            case Busy():
                why = "another worker is doing the same work"
                await self._end.wait(job, "waiting", Wait("lease", why, LEASE_WAIT))
            case Mine() as claim:
                calls = Calls(
                    core.stores.calls,
                    core.ledger,
                    self._payer(),
                    claim.fence,
                    first=claim.first,
                    gate=self._passage,
                )
                with core.stops.running(job.event.share_id) as stop:
                    done = await self._do(claim, calls, stop)
                if done is None:
                    await calls.note_told()
                    raise LeaseLost
                await self._finish(done, calls, paid_now=True)

    async def _claimed(self) -> Mine | Busy | Done:
        """The lease, or who has it. Of finished work only once it is written down that this job needs it, too: then
        the result is not removed with the share that had it first.
        """
        core, job = self._core, self._job
        claim = await core.stores.work.claim(job.work_key, core.spec.name)
        if not isinstance(claim, Done):
            return claim
        await core.stores.jobs.put(job.status("running", core.clock.now()), job.incoming.ask)
        return await core.stores.work.claim(job.work_key, core.spec.name)

    async def _do(self, mine: Mine, calls: Calls, stop: Stop) -> Done | None:
        """Work under the lease; None when somebody else has taken over before the result was stored."""
        work, key = self._core.stores.work, self._job.work_key
        checkpoints = Checkpoints(work, key, mine, self._core.clock)

        async def leave() -> None:
            await checkpoints.flush()
            await work.give_back(key, mine.fence)

        try:
            async with stop.cuts_off(), kept_lease(work, key, mine.fence, self._core.stores.lease):
                await self._show_running(stop)
                await calls.recover()
                result = await self._result(calls, checkpoints, stop)
                return await work.complete(key, mine.fence, result)
        except BaseException as exc:
            if isinstance(exc, Exception) and await work.renew(key, mine.fence):
                await calls.recover()  # a call that the stage's limit cut off; there may be no next try to find it
            # Also when this job is cancelled: the next worker need not wait for the lease to run out.
            await asyncio.shield(leave())
            raise

    async def _show_running(self, stop: Stop) -> None:
        """:raises Cancelled: the job was cancelled before it began to run."""
        if self._taken is not None or await self._end.running(self._job):
            return
        if await self._core.stores.cancel.asked(self._job.event.share_id):
            stop.ask()
            stop.check()

    async def _result(self, calls: Calls, checkpoints: Checkpoints, stop: Stop) -> JsonValue:
        core, job = self._core, self._job
        run = JobRun(
            calls,
            core.stores.jobs,
            checkpoints,
            share_id=job.event.share_id,
            stage=core.spec.name,
            clock=core.clock,
            stop=stop,
            in_bulk=job.incoming.in_bulk,
            is_probe=self._passage.is_probe,
        )
        try:
            async with limited(core.spec, lambda: self._end.overdue(job)):
                result = await core.handler.work(job.plan, run)
        except Skipped as exc:
            result = core.handler.skipped(job.plan, str(exc))
        encoded: JsonValue = result.model_dump(mode="json")
        return encoded

    async def _finish(self, done: Done, calls: Calls, *, paid_now: bool) -> None:
        core, job = self._core, self._job
        result = self._read(done)
        event = core.handler.event(job.plan, Finished(job.work_key, result, done.cost, done.finished_at))
        told_at = job.tells_at(done.finished_at)
        try:
            _, settled = await asyncio.gather(
                core.writer.result(core.spec.output, event, job.work_key, job.incoming.traceparent, told_at),
                calls.all_told(),
            )
        except Exception:
            await calls.note_told()
            raise
        skipped = event.skipped_reason if isinstance(event, SkippableEvent) else None
        cost = done.cost if paid_now else ZERO
        await self._end.published(job, told_at, settled, skipped=skipped, cost=cost)

    def _payer(self) -> Payer:
        job, spec = self._job, self._core.spec
        return Payer(job.event.account, spec.name, job.event.share_id, job.work_key, spec.hold_for)

    def _read(self, done: Done) -> R:
        try:
            return self._core.handler.result_type.model_validate(done.result)
        except ValidationError:  # not `from exc`: it quotes the result
            raise Poison(
                "the result that was kept is one of another version: replay the share with --force"
            ) from None


async def wind_up(core: Core[E, R], end: Endings, job: AnyJob, row: JobRow) -> None:
    """Finish what a cancelled job has left open, whose worker may have died; nobody needs its result any more."""
    if row.state == "cancelled":
        return
    recovery = Recovery(core.stores.calls, core.ledger)
    finished = await finish_left(core.stores.work, recovery, core.spec.name, job.work_key)
    if not finished and await core.stores.cancel.has_open_call(job.event.share_id, job.work_key):
        await end.look_again(job, LEASE_WAIT)  # until that worker's lease has run out
        return
    await end.cancelled(job)


async def forget(core: Core[E, R], end: Endings, job: AnyJob) -> None:
    """Finish what a job has left open whose share was deleted. A call of a worker that may still be at it, is its own
    to end; should it have died, the calls that are left open are looked for anyway (`millrace.stream.recovery`).
    """
    await finish_left(core.stores.work, Recovery(core.stores.calls, core.ledger), core.spec.name, job.work_key)
    await end.deleted(job.event.share_id)
