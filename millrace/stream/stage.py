"""What a stage is: the port between the job core and a service's own work.

A service brings a `StageSpec` (which topics, which limits) and a `StageHandler` (what the work is), and makes an
`Agent` of them. The core does the rest: decoding, leases, money, delivery, acknowledgement, dead letters, replay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ClassVar, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel

from millrace import ids
from millrace.contracts.events import Event, ResultEvent, ShareEvent, StageName
from millrace.errors import Poison
from millrace.models.port import Paid
from millrace.money import MicroUSD

R = TypeVar("R", bound=BaseModel)
"""Result of a stage's work, whoever shared what it is about."""
A = TypeVar("A", bound=BaseModel)
E = TypeVar("E", bound=ShareEvent)
"""Events that a stage works on."""
E_co = TypeVar("E_co", bound=ShareEvent, covariant=True)
T = TypeVar("T", bound=ResultEvent)

MODEL_OPTION: Final = "model"
BACKEND_OPTION: Final = "backend"
"""Option of a command: the model to use instead of the stage's own."""
GENERATION_OPTION: Final = "generation"
"""Option of a command that does finished work again: names the doing. Commands with the same one share the work."""


@dataclass(frozen=True)
class StageSpec:
    """Topics and limits of one stage.

    `inputs` are event topics, `output` is the one of its results; `records` says, by schema name, what their messages
    become where that is not one of Millrace's own records. The stage also reads its own `<name>.requested`. Its local
    part reads only what such workers have handed over, `<name>.requested.local`, in a group of its own. Limits bound
    one piece of work: at the soft one it is said to be overdue, at the hard one it is ended.
    """

    name: StageName
    inputs: tuple[str, ...]
    output: str
    soft_limit: timedelta
    hard_limit: timedelta
    local: bool = False
    records: Mapping[str, type[Event]] = field(default_factory=dict)

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
class Plan(Generic[E_co]):
    """What a stage would do about an event: which work, for which share. Equal work keys are paid once.

    `local`: it needs a model of this machine's own.
    `generation` tells work that was asked for once more from what was done before; it is empty at first.
    """

    event: E_co
    content_hash: str
    model: str
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    local: bool = False
    generation: str = ""

    def work_key(self, stage: StageName) -> ids.WorkKey:
        """Names the work: stage, content hash, model, parameters, and the generation if there is one."""
        again = {GENERATION_OPTION: self.generation} if self.generation else {}
        return ids.work_key(stage, self.content_hash, self.model, {**self.parameters, **again})


@dataclass(frozen=True)
class Finished(Generic[R]):
    """A piece of work that is done: its result does not depend on the share that caused it."""

    work_key: ids.WorkKey
    result: R
    cost: MicroUSD
    finished_at: datetime

    def as_event(self, kind: type[T], share: ShareEvent, **more: object) -> T:
        """The result as an event about a share: the result's own fields, what every result has, and `more`."""
        about = {"share_id": share.share_id, "account": share.account, "work_key": self.work_key}
        cost = {"cost_micro_usd": self.cost, "produced_at": self.finished_at}
        return kind.model_validate({**dict(self.result), **about, **cost, **more})


class Run(Protocol):
    """What the core lends to a handler while it works."""

    @property
    def in_bulk(self) -> bool:
        """A replay asks for the work, so nobody waits in front of a screen."""
        ...

    @property
    def is_probe(self) -> bool:
        """The model has failed for everybody, and this job tries whether it works again."""
        ...

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

    async def checkpoint(self, state: BaseModel) -> None:
        """Keep what is done so far for whoever goes on with this work, in place of what was kept before.

        Cheap to call often: it is written every few seconds, and when the work is interrupted. It is gone when the
        work is done. Not for what was paid for: answers of calls are kept by themselves.
        """
        ...

    def resume(self, kind: type[A]) -> A | None:
        """What an earlier try has kept; None when there is nothing, or something of another form."""
        ...


class StageHandler(ABC, Generic[E, R]):
    """A stage's own work. Everything but `work` is pure."""

    result_type: type[R]
    """What `work` comes to, kept as JSON."""
    event_type: ClassVar[type[ResultEvent]]
    """What goes out about a share: the result's fields and those of `ResultEvent`, unless `event` says otherwise."""

    @abstractmethod
    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[E] | None:
        """Which work an event asks for; None when the event is not for this stage.

        `options` come with a command on `<stage>.requested` and are empty for events.

        :raises Poison: the event can never be worked on, or not with these options.
        """

    @abstractmethod
    async def work(self, plan: Plan[E], run: Run) -> R:
        """Do the work.

        :raises Retryable: try again later.
        :raises Poison: never try again.
        :raises Skipped: there was nothing to do; the reason becomes the result.
        :raises Deferred: what it needs comes with the work of others.
        """

    def skipped(self, plan: Plan[E], reason: str) -> R:
        """The result that says why nothing was done; a stage that has none never raises `Skipped`.

        :raises Poison: there is no such result.
        """
        raise Poison(f"share {plan.event.share_id} has nothing to go on with: {reason}")

    def event(self, plan: Plan[E], done: Finished[R]) -> ResultEvent:
        """The result as this share's event."""
        return done.as_event(self.event_type, plan.event)

    def most(self, plan: Plan[E]) -> MicroUSD | None:
        """About the most that the work can cost, from the event alone, for estimates; None: nobody knows."""
        del plan
        return None


@dataclass(frozen=True)
class Prospect:
    """What a stage would do about an event, and about the most that it can cost; None: nobody knows."""

    plan: Plan[ShareEvent]
    most: Callable[[], MicroUSD | None]


Look = Callable[[Event, Mapping[str, str]], Prospect | None]
"""Says what a stage would do about an event under some options; None: nothing. Raises Poison, as `plan` does."""


def looking(handler: StageHandler[E, R]) -> Look:
    """How a stage's handler looks at events that it is only asked about."""

    def look(event: Event, options: Mapping[str, str]) -> Prospect | None:
        plan = planned(handler, event, options)
        return None if plan is None else Prospect(plan, lambda: handler.most(plan))

    return look


def planned(handler: StageHandler[E, R], event: Event, options: Mapping[str, str]) -> Plan[E] | None:
    """What a stage does about an event under these options; whoever asks comes to the same work key.

    :raises Poison: as `StageHandler.plan`.
    """
    plan = handler.plan(event, options)
    generation = options.get(GENERATION_OPTION)
    return plan if plan is None or generation is None else replace(plan, generation=generation)
