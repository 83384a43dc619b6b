"""Which work an event asks for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import BaseModel

from millrace.contracts.events import Event, ShareCreated
from millrace.ids import WorkKey
from millrace.stream.stage import GENERATION_OPTION, Plan, Run, StageHandler, StageSpec, planned
from millrace.testing.samples import share_created


class Result(BaseModel):
    """Of no interest here."""


class Texts(StageHandler[ShareCreated, Result]):
    """Plans for texts."""

    result_type = Result

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[ShareCreated] | None:
        return Plan(event, "content", "m", {"version": 1}) if isinstance(event, ShareCreated) else None

    async def work(self, plan: Plan[ShareCreated], run: Run) -> Result:
        raise NotImplementedError


def key(**options: str) -> WorkKey:
    plan = planned(Texts(), share_created(text="words"), options)
    assert plan is not None
    return plan.work_key("embed")


def test_work_that_is_asked_for_once_more_is_other_work_and_the_same_for_who_asks_with_it() -> None:
    assert key() == key(whatever="else")
    keys = {key(), key(**{GENERATION_OPTION: "one"}), key(**{GENERATION_OPTION: "two"})}
    assert len(keys) == 3
    assert key(**{GENERATION_OPTION: "one"}) == key(**{GENERATION_OPTION: "one"})


def test_money_is_held_until_after_the_work_is_ended() -> None:
    hours = timedelta(hours=4)
    spec = StageSpec("embed", ("share.created",), "embedding.ready", hours, hours)
    assert hours < spec.hold_for < hours + timedelta(minutes=10)
