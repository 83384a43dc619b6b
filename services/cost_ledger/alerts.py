"""Which alerts a window's sums call for, given those that were raised for it before. Pure.

The recorder asks once a batch of decisions, with the sums at the end of it: what rises and falls again within a
fraction of a second alarms nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from millrace.clock import from_millis, millis
from millrace.contracts.events import AlertKind, CostAlert, CostSpend
from millrace.ids import event_id
from millrace.ledger.forecast import exhausted_at
from millrace.ledger.topics import ALERTS
from millrace.money import MicroUSD
from services.cost_ledger.windows import next_start

PERCENT: Final = (50, 80, 100)
LATE: Final = timedelta(minutes=15)
"""How long after a window's end, by the clock on the wall, something is still said about it: a recorder that was away
for some minutes catches up with its alerts, a rebuild of last week is silent. Longer than most holds, so that a call
which ran past the end and cost more than its hold is noticed."""


class Announced(NamedTuple):
    """What was said about a window; `percent` and `forecast` were said about `cap`."""

    cap: int | None = None
    percent: int = 0
    forecast: bool = False
    overrun: bool = False


NOTHING_SAID: Final = Announced()


def due(row: CostSpend, said: Announced, *, at: datetime, now: datetime) -> list[CostAlert]:
    """The alerts to raise now.

    A threshold and a forecast are due once a window and cap: another cap arms them again (also one that was in force
    before; its alerts have the ids they had), money that is released and held again does not. An overrun is due once
    a window. Nothing is due without a cap.

    :param at: when the last decision about the window was made, in the log's time. Past the window's end only an
        overrun is still due: whatever else settles late can only make the sums smaller.
    :param now: the clock on the wall; a window that ended longer than `LATE` before it is past caring.
    """
    cap, end = row.cap_micro_usd, end_of(row)
    if cap is None or now >= end + LATE:
        return []
    said = _armed_for(cap, said)
    used = used_of(row)
    found: list[CostAlert] = []
    if at < end:
        percent = _crossed(used, cap)
        if percent > said.percent:
            # Only the highest: who reads that 80 % are used up need not read that 50 % are.
            found.append(_alert(row, cap, "threshold", percent, at=at))
        full_at = exhausted_at(row.start, end, at, used=used, cap=cap, calls=row.calls)
        if full_at is not None and full_at > now and not said.forecast:
            found.append(_alert(row, cap, "forecast", 100, at=at, full_at=full_at))
    if row.overrun_micro_usd > 0 and not said.overrun:
        found.append(_alert(row, cap, "overrun", 0, at=at))
    return found


def after(said: Announced, alerts: Sequence[CostAlert]) -> Announced:
    """What has been said once these alerts are out."""
    for alert in alerts:
        said = _armed_for(alert.cap_micro_usd, said)
        match alert.kind:
            case "threshold":
                said = said._replace(percent=alert.percent)
            case "forecast":
                said = said._replace(forecast=True)
            case "overrun":
                said = said._replace(overrun=True)
    return said


def id_of(alert: CostAlert) -> str:
    """The id of an alert: the same when it is raised again after a crash, so that readers can drop the repeat."""
    cap = "" if alert.kind == "overrun" else f"{alert.cap_micro_usd}"
    about = f"{alert.scope}|{alert.window}|{millis(alert.start)}|{alert.kind}|{alert.percent}|{cap}"
    return event_id(ALERTS, alert.account, about)


def end_of(row: CostSpend) -> datetime:
    """End of the window that a row is about."""
    return from_millis(next_start(row.window, millis(row.start)))


def used_of(row: CostSpend) -> int:
    """What counts against the cap, in micro-US-dollars; an overrun is settled too."""
    return row.settled_micro_usd + row.held_micro_usd + row.unconfirmed_micro_usd


def said_in(row: Mapping[str, int | None] | None) -> Announced:
    """What a table's row keeps; rows about which nothing was said have none of the fields."""
    if row is None:
        return NOTHING_SAID
    return Announced(
        row.get("alert_cap"),
        row.get("alert_percent") or 0,
        bool(row.get("alert_forecast")),
        bool(row.get("alert_overrun")),
    )


def fields_of(said: Announced) -> dict[str, int | None]:
    """What a table's row is to keep."""
    return {
        "alert_cap": said.cap,
        "alert_percent": said.percent,
        "alert_forecast": int(said.forecast),
        "alert_overrun": int(said.overrun),
    }


def _armed_for(cap: int, said: Announced) -> Announced:
    return said if said.cap == cap else Announced(cap, overrun=said.overrun)


def _crossed(used: int, cap: int) -> int:
    """The highest threshold that is reached, or 0. Multiplied, not divided: the cap may be 0."""
    return max((percent for percent in PERCENT if used > 0 and used * 100 >= percent * cap), default=0)


def _alert(
    row: CostSpend, cap: MicroUSD, kind: AlertKind, percent: int, *, at: datetime, full_at: datetime | None = None
) -> CostAlert:
    return CostAlert(
        account=row.account,
        scope=row.scope,
        window=row.window,
        start=row.start,
        kind=kind,
        percent=percent,
        used_micro_usd=MicroUSD(used_of(row)),
        cap_micro_usd=cap,
        exhausted_at=full_at,
        raised_at=at,
    )
