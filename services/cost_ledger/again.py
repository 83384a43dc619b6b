"""Decides all requests once more, from the first one, and holds the answers beside those in the log. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from millrace.contracts.events import CostDecision
from millrace.ledger.topics import DECISIONS, ROWS
from services.cost_ledger.audit import Differences
from services.cost_ledger.decide import Owns
from services.cost_ledger.rows import Position
from services.cost_ledger.spend import Decided
from services.cost_ledger.state import Logged, State


class Again:
    """One partition whose request log still begins with its first request.

    Decisions are a function of the requests, so every one has to be the same; and so are the rows, of which the
    position carries a digest.
    """

    def __init__(self, requests: Iterator[Logged], owns: Owns, stored: Position, differences: Differences) -> None:
        self.requests = 0
        self._requests = requests
        self._owns = owns
        self._stored = stored
        self._differences = differences
        self._state = State()
        self._expected: deque[CostDecision] = deque()

    def follow(self, decided: Decided) -> None:
        """The next decision of the log."""
        if not self._expected:
            self._decide_next()
        expected = self._expected.popleft() if self._expected else None
        if expected != decided.decision:
            about = f"partition {decided.partition}, request {decided.decision.request_offset}"
            self._differences.add(DECISIONS, about, _shown(expected), _shown(decided.decision))

    def _decide_next(self) -> None:
        record = next(self._requests, None)
        if record is None:
            return
        self.requests += 1
        batch = self._state.batch([record], self._owns)
        self._state.apply(batch)
        self._expected.extend(batch.decisions)
        if batch.position.offset == self._stored.offset and batch.position != self._stored:
            self._differences.add(
                ROWS, f"position and digest at request {record.offset}", batch.position, self._stored
            )


def _shown(decision: CostDecision | None) -> str:
    return "no such request" if decision is None else decision.model_dump_json(exclude_defaults=True)
