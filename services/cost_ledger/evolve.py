"""What a decision makes of the rows. Pure, and the only way in which rows ever change.

So the rows are a fold of the decisions: a rebuild from `cost.decisions` gives the same bytes as deciding did. What is
past its time in the log's own time is not there any more, whether it is still stored or not: a rebuild that stores
less must not see more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from millrace.clock import millis
from millrace.contracts.events import CostDecision, HoldState
from services.cost_ledger.effects import NOTHING, effect, windows_of
from services.cost_ledger.rows import CapKey, CapRow, HoldKey, HoldRow, Key, Row, WindowKey, WindowRow
from services.cost_ledger.windows import kept_until, start_of

Get = Callable[[Key], Row | None]
"""The row of a key as all earlier decisions left it."""

ANSWERS_KEPT_MS: Final = 10 * 60_000
"""How long, in the log's time, a reservation that has ended is kept so that a late repeat gets the same answer."""
_SWEEP_ABOVE: Final = 100_000
"""Rows; a fold over a month of decisions must not keep a month of reservations that have ended."""
FILED: Final = "budgets-file:"
"""Begins the request ids of caps that come from the budgets file; nobody else may use it."""


def is_past(hold: HoldRow, at_ms: int) -> bool:
    """Whether a reservation's time is over in the log's time."""
    return hold.ended_at is not None and at_ms >= hold.ended_at + ANSWERS_KEPT_MS


def past_at(key: Key, row: Row) -> int | None:
    """When a row's time will be over; None: not by time alone."""
    if isinstance(row, HoldRow):
        return None if row.ended_at is None else row.ended_at + ANSWERS_KEPT_MS
    return kept_until(key.window, key.start) if isinstance(key, WindowKey) else None


def evolve(get: Get, decision: CostDecision) -> dict[Key, Row]:
    """The rows that a decision changes."""
    at_ms = millis(decision.decided_at)
    if decision.op == "set-cap":
        return _cap(get, decision)
    if decision.outcome == "day-opened":  # a hold that was open then; where it is known it stays as it is
        key = HoldKey(decision.account, decision.request_id)
        return {} if get(key) else {key: _hold(decision, decision.previous or "held", None)}
    changes = _reservation(get, decision, at_ms)
    delta = effect(decision)
    if delta is not NOTHING:
        for window in windows_of(decision):
            if at_ms < kept_until(window.window, window.start):
                row = get(window)
                changes[window] = row.plus(delta) if isinstance(row, WindowRow) else delta
    return changes


class Fold:
    """The rows that decisions come to, in the order of the log: from its start, or from the opening of any day."""

    def __init__(self) -> None:
        self.rows: dict[Key, Row] = {}
        self.at_ms = 0
        self._room = _SWEEP_ABOVE

    def add(self, decision: CostDecision) -> None:
        """The next decision."""
        self.at_ms = millis(decision.decided_at)
        self.rows.update(evolve(self._get, decision))
        if len(self.rows) > self._room:
            self.rows = self.present()
            self._room = 2 * len(self.rows) + _SWEEP_ABOVE

    def present(self) -> dict[Key, Row]:
        """The rows whose time is not over."""
        return present(self.rows, self.at_ms)

    def _get(self, key: Key) -> Row | None:
        row = self.rows.get(key)
        return None if isinstance(row, HoldRow) and is_past(row, self.at_ms) else row


def fold(decisions: Iterable[CostDecision]) -> dict[Key, Row]:
    """See `Fold`."""
    folded = Fold()
    for decision in decisions:
        folded.add(decision)
    return folded.present()


def present(rows: Mapping[Key, Row], at_ms: int) -> dict[Key, Row]:
    """The rows whose time is not over; what is stored besides answers nothing any more."""
    until = ((key, row, past_at(key, row)) for key, row in rows.items())
    return {key: row for key, row, when in until if when is None or at_ms < when}


def _reservation(get: Get, decision: CostDecision, at_ms: int) -> dict[Key, Row]:
    key = HoldKey(decision.account, decision.request_id)
    previous = decision.previous
    match decision.outcome:
        case "granted" if previous is None:
            return {key: _hold(decision, "held", None)}
        case "denied" if previous is None:
            return {key: _hold(decision, "denied", at_ms)}
        case "released" if previous is None:
            return {key: _closed(decision, at_ms)}
        case "settled" | "reconciled" if previous in ("held", "unconfirmed", "released"):
            state: HoldState = "settled"
        case "released" if previous in ("held", "unconfirmed"):
            state = "released"
        case "unconfirmed" if previous == "held":
            state = "unconfirmed"
        case _:
            return {}  # a repeat, or nothing happened
    hold = get(key)
    if not isinstance(hold, HoldRow):
        return {}  # a fold that begins after the reservation
    return {
        key: hold._replace(
            state=state,
            ended_at=None if state == "unconfirmed" else at_ms,
            actual=decision.actual_micro_usd if state == "settled" else hold.actual,
            overrun=decision.overrun_micro_usd if state == "settled" else hold.overrun,
        )
    }


def _hold(decision: CostDecision, state: HoldState, ended_at: int | None) -> HoldRow:
    at_ms = millis(decision.decided_at)
    return HoldRow(
        decision.scope,
        state,
        decision.amount_micro_usd,
        start_of("hour", at_ms) if decision.hour_start is None else millis(decision.hour_start),
        start_of("day", at_ms) if decision.day_start is None else millis(decision.day_start),
        0 if decision.expires_at is None else millis(decision.expires_at),
        ended_at,
        0,
        0,
        decision.denied_by,
        decision.left_micro_usd,
        decision.cap_micro_usd,
        None if decision.room_at is None else millis(decision.room_at),
        decision.share_id,
        decision.model,
        decision.work_key,
        decision.reason,
    )


def _closed(decision: CostDecision, at_ms: int) -> HoldRow:
    """A release that landed before its reserve: the id is closed, so that the late reserve holds no money."""
    hour, day = start_of("hour", at_ms), start_of("day", at_ms)
    reason = "it was released before it was asked for"
    return HoldRow(
        decision.scope, "denied", 0, hour, day, 0, at_ms, denied_by="released", left=0, cap=0, reason=reason
    )


def _cap(get: Get, decision: CostDecision) -> dict[Key, Row]:
    if decision.window is None or decision.outcome not in ("cap-changed", "day-opened"):
        return {}
    key = CapKey(decision.account, decision.scope, decision.window)
    row = CapRow(decision.cap_micro_usd, decision.mode or "enforce", decision.request_id)
    if decision.request_id.startswith(FILED):
        return {key: row._replace(filed=row.cap, filed_mode=row.mode)}
    old = get(key)
    return {key: row._replace(filed=old.filed, filed_mode=old.filed_mode)} if isinstance(old, CapRow) else {key: row}
