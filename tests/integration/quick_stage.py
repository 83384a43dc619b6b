"""Stages whose model takes no time: `python -m tests.integration.quick_stage STAGE`. The rest is the product.

As the benchmark's, but each works on shared texts, and a share's title says how many micro-dollars its one call holds
and costs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from benchmarks.peers.null_stage import MODEL, Nothing, NullHandler, build
from millrace.contracts.events import Event, ShareCreated, ShareEvent
from millrace.ids import content_hash
from millrace.models.port import Paid
from millrace.money import MicroUSD
from millrace.settings import StageSettings
from millrace.startup import settings_or_exit
from millrace.stream.stage import Plan, Run
from millrace.stream.worker import run


class QuickHandler(NullHandler):
    """Implements `StageHandler`."""

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[ShareEvent] | None:
        """Shared texts, whatever the stage."""
        del options
        if not isinstance(event, ShareCreated) or event.text is None:
            return None
        return Plan(event, content_hash(event.text), MODEL)

    async def work(self, plan: Plan[ShareEvent], run: Run) -> Nothing:
        """One call of the share's price."""
        assert isinstance(plan.event, ShareCreated)
        amount = MicroUSD(int(plan.event.title or "1"))

        async def do() -> Paid[Nothing]:
            return Paid(Nothing(), amount)

        return await run.call(0, Nothing, model=MODEL, hold=amount, do=do)


if __name__ == "__main__":
    run(build(sys.argv.pop(), settings_or_exit(StageSettings), QuickHandler))
