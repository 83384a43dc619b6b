"""What a stage is: the port between the job core and a service's own work.

A service brings a `StageSpec` (which topics, which limits) and a `StageHandler` (what the work is). The core does
the rest: decoding, leases, money, delivery, acknowledgement, dead letters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from millrace import ids
from millrace.contracts.events import Event, ShareEvent, StageName
from millrace.money import MicroUSD

R = TypeVar("R", bound=BaseModel)
A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True)
class StageSpec:
    """Topics and limits of one stage.

    `inputs` are event topics; the stage also reads its own `<name>.requested`. Its local part reads only what such
    workers have handed over, `<name>.requested.local`, in a group of its own. Limits bound one piece of work: at the
    soft one it is said to be overdue, at the hard one it is ended.
    """

    name: StageName
    inputs: tuple[str, ...]
    output: str
    soft_limit: timedelta
    hard_limit: timedelta
    local: bool = False

    def limited(self, *, soft_s: float | None, hard_s: float | None) -> StageSpec:
        """The stage with other limits, in seconds, where they are given. A soft one is never beyond the hard one."""
        hard = self.hard_limit if hard_s is None else timedelta(seconds=hard_s)
        soft = self.soft_limit if soft_s is None else timedelta(seconds=soft_s)
        return replace(self, soft_limit=min(soft, hard), hard_limit=hard)

    @property
    def requested(self) -> str:
        """Topic of commands to this stage, or part of it: on demand, replayed, or done with waiting."""
        return self.requested_local if self.local else f"{self.name}.requested"

    @property
    def requested_local(self) -> str:
        """Topic of what needs a local model."""
        return f"{self.name}.requested.local"

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics whose records are jobs."""
        return (self.requested,) if self.local else (*self.inputs, self.requested)

    @property
    def group(self) -> str:
        """Consumer group, and name of the application."""
        return f"millrace-{self.name}-{'local' if self.local else 'agent'}"

    @property
    def dead(self) -> str:
        """Topic of messages that this stage gave up on."""
        return f"{self.name}.dead"

    @property
    def hold_for(self) -> timedelta:
        """How long the ledger holds money for one call: the hard limit and five minutes for settling."""
        return self.hard_limit + timedelta(minutes=5)


@dataclass(frozen=True)
class Plan:
    """What a stage would do about an event: which work, for which share. Equal work keys are paid once.

    `local`: it needs a model of this machine's own.
    """

    event: ShareEvent
    content_hash: str
    model: str
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    local: bool = False

    def work_key(self, stage: StageName) -> ids.WorkKey:
        """Names the work: stage, content hash, model, parameters."""
        return ids.work_key(stage, self.content_hash, self.model, self.parameters)


@dataclass(frozen=True)
class Paid(Generic[A]):
    """A provider's (or local model's) answer and what it really cost."""

    answer: A
    cost: MicroUSD


@dataclass(frozen=True)
class Finished(Generic[R]):
    """A piece of work that is done: its result does not depend on the share that caused it."""

    work_key: ids.WorkKey
    result: R
    cost: MicroUSD
    finished_at: datetime


class Run(Protocol):
    """What the core lends to a handler while it works."""

    async def call(
        self,
        call_no: int,
        answer_type: type[A],
        *,
        model: str,
        hold: MicroUSD,
        do: Callable[[], Awaitable[Paid[A]]],
        local: bool = False,
    ) -> A:
        """Call a paid API or a model, once the ledger has granted `hold`, and keep its answer.

        `call_no` numbers the calls of one piece of work from 0 and must be the same at every attempt: an answer
        that an earlier attempt has paid for is returned without calling again. Free local calls hold 0.

        `do` says by its error what was paid: `Retryable` and `Poison` mean that nothing was, any other error that
        nobody knows (the hold is then charged as unconfirmed).

        `local`: the model is this machine's own, so a call that is cut off (the stage's limit, a stop) was not paid.

        :raises Denied: the ledger refused; nothing was called.
        """
        ...

    async def progress(self, fraction: float) -> None:
        """Show how far the work is, 0 to 1; cheap to call often."""
        ...


class StageHandler(Protocol[R]):
    """A stage's own work. Everything but `work` is pure."""

    result_type: type[R]

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan | None:
        """Which work an event asks for; None when the event is not for this stage.

        `options` come with a command on `<stage>.requested` and are empty for events.

        :raises Poison: the event can never be worked on.
        """
        ...

    async def work(self, plan: Plan, run: Run) -> R:
        """Do the work.

        :raises Retryable: try again later.
        :raises Poison: never try again.
        :raises Skipped: there was nothing to do; the reason becomes the result.
        """
        ...

    def skipped(self, plan: Plan, reason: str) -> R:
        """The result that says why nothing was done."""
        ...

    def event(self, plan: Plan, done: Finished[R]) -> ShareEvent:
        """The result as this share's event."""
        ...
