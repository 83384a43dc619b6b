"""Which work an event asks for."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.contracts.events import Event, ShareCreated
from millrace.ids import WorkKey
from millrace.stream.stage import GENERATION_OPTION, Plan, planned
from millrace.testing.samples import share_created


class Planner:
    """Plans for texts."""

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan | None:
        return Plan(event, "content", "m", {"version": 1}) if isinstance(event, ShareCreated) else None


def key(**options: str) -> WorkKey:
    plan = planned(Planner(), share_created(text="words"), options)
    assert plan is not None
    return plan.work_key("embed")


def test_work_that_is_asked_for_once_more_is_other_work_and_the_same_for_who_asks_with_it() -> None:
    assert key() == key(whatever="else")
    keys = {key(), key(**{GENERATION_OPTION: "one"}), key(**{GENERATION_OPTION: "two"})}
    assert len(keys) == 3
    assert key(**{GENERATION_OPTION: "one"}) == key(**{GENERATION_OPTION: "one"})
