"""A job: a share's stage while it is worked on, and how its state reads to people. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic

from millrace import ids
from millrace.contracts.events import ShareEvent, StageName, TaskState, TaskStatus
from millrace.errors import MillraceError, Refusal
from millrace.money import ZERO, MicroUSD
from millrace.store.ask import JobRow
from millrace.stream.incoming import Incoming
from millrace.stream.stage import E_co, Plan
from millrace.text import storable


@dataclass(frozen=True)
class Job(Generic[E_co]):
    """Everything that is decided about a job before it is worked on; `told_at`: its share has the result already."""

    stage: StageName
    incoming: Incoming
    plan: Plan[E_co]
    work_key: ids.WorkKey
    attempt: int
    told_at: datetime | None = None

    def known(self, row: JobRow) -> Job[E_co]:
        """The same job with the work and the tries that its row knows of."""
        return replace(self, work_key=row.work_key or self.work_key, attempt=row.attempt)

    def tells_at(self, finished_at: datetime) -> datetime:
        """When the share got the result of this work: the same however often it is told, and never before it was
        asked for. Later stages know by it what is new.
        """
        turn = self.incoming.turn
        return self.told_at or max(finished_at, turn.asked_at if turn else finished_at)

    @property
    def event(self) -> E_co:
        """The event that the job is about."""
        return self.plan.event

    def status(
        self,
        state: TaskState,
        now: datetime,
        *,
        reason: str | None = None,
        attempt: int | None = None,
        resume_at: datetime | None = None,
        refusal: Refusal | None = None,
        cost: MicroUSD = ZERO,
    ) -> TaskStatus:
        """Where the job stands; `refusal` adds the amounts that the ledger named."""
        return TaskStatus(
            share_id=self.event.share_id,
            account=self.event.account,
            stage=self.stage,
            state=state,
            progress=1.0 if state in ("done", "skipped") else None,
            reason=reason,
            resume_at=resume_at,
            needed_micro_usd=refusal.needed_micro_usd if refusal else None,
            left_micro_usd=refusal.left_micro_usd if refusal else None,
            cap=refusal.cap if refusal else None,
            attempt=self.attempt if attempt is None else attempt,
            model=self.plan.model or None,
            work_key=self.work_key,
            cost_micro_usd=cost,
            updated_at=now,
        )


AnyJob = Job[ShareEvent]
"""A job of whatever event."""


def failed_status(
    event: ShareEvent, stage: StageName, now: datetime, *, reason: str, attempt: int, work_key: ids.WorkKey | None
) -> TaskStatus:
    """Status of a job that was given up on, also when no plan could be made for it."""
    return TaskStatus(
        share_id=event.share_id,
        account=event.account,
        stage=stage,
        state="failed",
        reason=reason,
        attempt=attempt,
        work_key=work_key,
        updated_at=now,
    )


def sentence(error: Exception, stage: StageName) -> str:
    """What people read, in characters that can be stored: our own errors speak for themselves, at most 1,000 of them;
    a library's text may hold internals.
    """
    if isinstance(error, MillraceError):
        return storable(str(error))
    return f"an unexpected {type(error).__name__} in the {stage} stage"
