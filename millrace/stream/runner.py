"""One record, start to end: read, planned, decided about, and its job brought to an end that is written down."""

from __future__ import annotations

import asyncio
import logging
from typing import Generic

from millrace import ids
from millrace.contracts.events import ShareEvent
from millrace.errors import ConfigurationError, Poison, Unavailable
from millrace.kafka.records import Message
from millrace.store.ask import JobRow
from millrace.stream.attempt import Attempt, forget, wind_up
from millrace.stream.core import Core
from millrace.stream.decide import BeginAnew, Forget, Go, Ignore, WindUp, decide, go_on, had_its_turn
from millrace.stream.endings import Endings
from millrace.stream.gates import Passage
from millrace.stream.incoming import Incoming
from millrace.stream.job import Job
from millrace.stream.stage import E, Plan, R, planned
from millrace.telemetry import log_lines, metrics
from millrace.tracing.spans import about, processing

log = logging.getLogger(__name__)

READ_AGAIN_S = 2.0
"""How soon a record is read again when the registry did not answer."""


class JobRunner(Generic[E, R]):
    """Executes records of one stage. Nothing escapes `execute` but cancellation."""

    def __init__(self, core: Core[E, R]) -> None:
        self._core = core
        self._stage = core.spec.name
        self._end = Endings(
            core.spec,
            core.stores,
            writer=core.writer,
            statuses=core.statuses,
            clock=core.clock,
            observer=core.observer,
        )

    async def execute(self, message: Message) -> None:
        """Bring a record to an end that is written down; returns when it may be acknowledged."""
        clock, started = self._core.clock, self._core.clock.now()
        if message.is_tombstone:  # for those who hold something of the share outside of the database
            await self._core.observer.unused(message)
            return
        at, offset, headers = message.at, message.offset, message.headers
        with (
            metrics.ACTIVE_TASKS.labels(self._stage).track_inprogress(),
            processing(self._stage, at, offset, headers),
        ):
            incoming = await self._read(message)
            if incoming is not None:
                await self._run_or_bury(incoming)
        metrics.TASK_SECONDS.labels(self._stage).observe((clock.now() - started).total_seconds())

    async def _read(self, message: Message) -> Incoming | None:
        while True:
            try:
                return await self._core.reader.read(message)
            except (Unavailable, ConfigurationError) as exc:  # the latter: the registry refuses our credentials
                log.warning("%s: %s; trying again", self._stage, exc)
                await asyncio.sleep(READ_AGAIN_S)
            except Poison as exc:
                await self._end.bury(message, exc)
                return None
            except Exception as exc:  # whatever a message does to its reader, it must not do that at every start
                log.exception("%s: reading %s@%d failed", self._stage, message.at, message.offset)
                await self._end.bury(message, Poison(f"an unexpected {type(exc).__name__} in reading it"))
                return None

    async def _run_or_bury(self, incoming: Incoming) -> None:
        """What nobody foresaw outside of an attempt must not end every worker that the record comes to."""
        try:
            await self._run(incoming)
        except Unavailable:  # the process stops, and the record comes again
            raise
        except Exception as exc:
            message, event = incoming.message, incoming.event
            log.exception("%s: %s@%d was given up on", self._stage, message.at, message.offset)
            error = Poison(f"an unexpected {type(exc).__name__} beside its work")
            if isinstance(event, ShareEvent):
                # The job has failed, and the letter has the bytes that a command carries.
                await self._end.fail(incoming, event, error, attempt=0, work_key=None)
            else:
                await self._end.bury(message, error)

    async def _run(self, incoming: Incoming) -> None:
        event = incoming.event
        if not isinstance(event, ShareEvent):
            await self._end.bury(incoming.message, Poison(f"{type(event).__name__} is not about a share"))
            return
        log_lines.about(event.share_id)
        about({"millrace.share_id": event.share_id})
        passage = Passage(self._core.stores.gates, event.account, incoming.let_through)
        plan = await self._planned(incoming, event)
        if plan is not None:
            await self._go(incoming, plan, passage)
        await passage.ended()

    async def _planned(self, incoming: Incoming, event: ShareEvent) -> Plan[E] | None:
        """The plan; None when there is none, which then is settled."""
        try:
            plan = planned(self._core.handler, event, incoming.options)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it ends as a dead letter with its stack
            if had_its_turn(incoming, await self._core.stores.jobs.get(event.share_id, self._stage)):
                await self._core.observer.unused(incoming.message)
            else:
                await self._end.fail(incoming, event, exc, attempt=0, work_key=None)
            return None
        if plan is None:
            await self._core.observer.unused(incoming.message)
        return plan

    async def _go(self, incoming: Incoming, plan: Plan[E], passage: Passage) -> None:
        core, key = self._core, plan.work_key(self._stage)
        job = Job(self._stage, incoming, plan, key, attempt=0)
        log_lines.about(plan.event.share_id, key)
        if not incoming.is_command and not (plan.local and core.hands_over):
            # Nearly always nothing is known of the job yet: then one statement does for all that comes below.
            status = job.status("running", core.clock.now())
            if (lease := await core.stores.work.take_up(status, incoming.ask)) is not None:
                core.statuses.show(status)
                await Attempt(core, self._end, job, passage, taken=lease).run()
                return
        match await self._decided(incoming, plan.event, key):
            case Ignore():
                await core.observer.unused(incoming.message)
            case Forget():
                await forget(core, self._end, job)
                await core.observer.unused(incoming.message)
            case WindUp(row=row):
                await self._wind_up(job.known(row), row)
            case Go(attempt=attempt, told_at=told_at):
                job = Job(self._stage, incoming, plan, key, attempt, told_at)
                await Attempt(core, self._end, job, passage).run()

    async def _wind_up(self, job: Job[E], row: JobRow) -> None:
        try:
            await wind_up(self._core, self._end, job, row)
        except Poison as exc:  # what would bring it back is larger than its topic takes
            await self._end.fail(job.incoming, job.event, exc, attempt=job.attempt, work_key=job.work_key)
        else:
            await self._core.observer.unused(job.incoming.message)

    async def _decided(
        self, incoming: Incoming, event: ShareEvent, key: ids.WorkKey
    ) -> Ignore | Forget | WindUp | Go:
        row = await self._row(event)
        deleted = row is None and await self._core.stores.cancel.deleted(event.share_id)
        decision = decide(incoming, row, key, deleted=deleted)
        if not isinstance(decision, BeginAnew):
            return decision
        if decision.revive:
            await self._core.stores.cancel.revive(event.share_id)
        await self._core.stores.jobs.begin_anew(event.share_id, self._stage, key, incoming.round)
        return go_on(incoming, await self._row(event), key)

    async def _row(self, event: ShareEvent) -> JobRow | None:
        return await self._core.stores.jobs.get(event.share_id, self._stage)
