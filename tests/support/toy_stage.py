"""A stage of tests: its work is one paid call, or whatever error a test wants."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from millrace.contracts.events import (
    Event,
    ResultEvent,
    ShareCreated,
    SummaryReady,
)
from millrace.ids import content_hash
from millrace.models.child.pool import ChildPool
from millrace.models.port import Paid
from millrace.money import MicroUSD
from millrace.stream.stage import Finished, Plan, Run, StageHandler, StageSpec
from tests.integration.toy_model import Order, Seen

SPEC = StageSpec(
    name="summarize",
    inputs=("share.created",),
    output="summary.ready",
    soft_limit=timedelta(minutes=1),
    hard_limit=timedelta(minutes=2),
)


class Text(BaseModel):
    text: str
    skipped_reason: str | None = None


class Summary(BaseModel):
    skipped_reason: str | None
    summary: str
    source: str = "text"
    backend: str = "toy"
    model: str = "toy"


class Toy(StageHandler[ShareCreated, Text]):
    """A stage whose work is one paid call, or whatever error the test wants."""

    result_type = Text
    event_type = SummaryReady

    def __init__(self) -> None:
        self.raises: list[Exception] = []
        self.billed = 0

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[ShareCreated] | None:
        if not isinstance(event, ShareCreated) or event.text is None:
            return None
        return Plan(event, content_hash(event.text), "toy")

    async def work(self, plan: Plan[ShareCreated], run: Run) -> Text:
        if self.raises:
            raise self.raises.pop(0)
        return await run.call(0, Text, model="toy", hold=MicroUSD(10), do=self._bill)

    async def _bill(self) -> Paid[Text]:
        self.billed += 1
        return Paid(Text(text="short"), MicroUSD(7))

    def sleeps_in(self, children: ChildPool, mark: Path) -> None:
        """From now on its model is one of this machine, which writes a mark when it begins, and never ends."""

        async def sleep() -> Paid[Text]:
            await children.ask(Order(do="sleep", mark=str(mark)), Seen)
            raise AssertionError

        async def work(plan: Plan[ShareCreated], run: Run) -> Text:
            return await run.call(0, Text, model="toy", hold=MicroUSD(10), do=sleep, local=True)

        self.work = work  # type: ignore[method-assign]

    def skipped(self, plan: Plan[ShareCreated], reason: str) -> Text:
        return Text(text="", skipped_reason=reason)

    def event(self, plan: Plan[ShareCreated], done: Finished[Text]) -> ResultEvent:
        kept = Summary(skipped_reason=done.result.skipped_reason, summary=done.result.text)
        return Finished(done.work_key, kept, done.cost, done.finished_at).as_event(SummaryReady, plan.event)
