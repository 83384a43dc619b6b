"""What a decision changes in the sums of its windows. Pure.

The admission core, the tables and the journal all add this one function's answer, so they cannot disagree about it.
"""

from __future__ import annotations

from collections.abc import Iterator

from millrace.clock import millis
from millrace.contracts.events import CostDecision
from services.cost_ledger.rows import TOTAL, WindowKey, WindowRow

NOTHING = WindowRow()


def effect(decision: CostDecision) -> WindowRow:
    """Differences to the sums; `NOTHING` for a denial, a repeated answer and whatever else moves no money."""
    amount, actual, previous = decision.amount_micro_usd, decision.actual_micro_usd, decision.previous
    match decision.outcome:
        case "granted" if previous is None:
            return WindowRow(held=amount, calls=1)
        case "settled" | "reconciled" if previous in ("held", "unconfirmed", "released"):
            spent = WindowRow(settled=actual, overrun=decision.overrun_micro_usd)
            return spent.plus(_freed(previous, amount))
        case "released" if previous in ("held", "unconfirmed"):
            return _freed(previous, amount)
        case "unconfirmed" if previous == "held":
            return WindowRow(held=-amount, unconfirmed=amount)
        case _:
            return NOTHING


def _freed(previous: str | None, amount: int) -> WindowRow:
    """The hold no longer counts where it counted; one that was released before counts nowhere."""
    if previous == "held":
        return WindowRow(held=-amount)
    return WindowRow(unconfirmed=-amount) if previous == "unconfirmed" else NOTHING


def windows_of(decision: CostDecision) -> Iterator[WindowKey]:
    """The sums that a decision about a hold belongs to: hour and day, of its scope and of the account's total."""
    if decision.hour_start is None or decision.day_start is None:
        return
    for scope in (decision.scope, TOTAL):
        yield WindowKey(decision.account, scope, "hour", millis(decision.hour_start))
        yield WindowKey(decision.account, scope, "day", millis(decision.day_start))
