"""Which alerts are due: once a window and cap, the highest only, and never about what is long over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from millrace.clock import from_millis
from millrace.contracts.events import CostAlert, CostSpend, Window
from millrace.money import MicroUSD
from services.cost_ledger.alerts import LATE, NOTHING_SAID, Announced, after, due, fields_of, id_of, said_in
from tests.unit.ledger.build import NOON

START = from_millis(NOON)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def row(
    used: int, cap: int | None = 1000, *, window: Window = "hour", calls: int = 1, overrun: int = 0, held: int = 0
) -> CostSpend:
    return CostSpend(
        account="a",
        scope="embed",
        window=window,
        start=START,
        settled_micro_usd=MicroUSD(used - held),
        held_micro_usd=MicroUSD(held),
        unconfirmed_micro_usd=MicroUSD(0),
        overrun_micro_usd=MicroUSD(overrun),
        cap_micro_usd=None if cap is None else MicroUSD(cap),
        calls=calls,
        as_of_offset=1,
        updated_at=START,
    )


@dataclass
class Window1:
    """One window, as time goes on."""

    said: Announced = NOTHING_SAID

    def see(self, one: CostSpend, minutes: float = 1, *, now: datetime | None = None) -> list[tuple[str, int]]:
        """Kinds and percentages of what is due now; it counts as said."""
        at = START + minutes * MINUTE
        alerts = due(one, self.said, at=at, now=at if now is None else now)
        self.said = after(self.said, alerts)
        return [(alert.kind, alert.percent) for alert in alerts]


@pytest.mark.parametrize(
    ("used", "percent"),
    [(0, None), (499, None), (500, 50), (799, 50), (800, 80), (999, 80), (1000, 100), (5000, 100)],
)
def test_the_highest_threshold_that_is_reached_is_due(used: int, percent: int | None) -> None:
    assert Window1().see(row(used)) == ([] if percent is None else [("threshold", percent)])


def test_held_and_unconfirmed_money_counts() -> None:
    one = row(500, held=300).model_copy(update={"unconfirmed_micro_usd": MicroUSD(300)})
    (alert,) = due(one, NOTHING_SAID, at=START, now=START)
    assert (alert.percent, alert.used_micro_usd, alert.cap_micro_usd, alert.raised_at) == (80, 800, 1000, START)


def test_every_threshold_is_raised_once_however_often_it_is_crossed() -> None:
    window = Window1()
    assert [window.see(row(used)) for used in (600, 700, 100, 600, 850, 100, 600, 1000, 100, 1000)] == [
        [("threshold", 50)],
        [],
        [],
        [],
        [("threshold", 80)],
        [],
        [],
        [("threshold", 100)],
        [],
        [],
    ]


def test_another_cap_arms_the_thresholds_again() -> None:
    window = Window1()
    assert window.see(row(900, 1000)) == [("threshold", 80)]
    assert window.see(row(900, 10_000)) == []
    assert window.see(row(900, 1500)) == [("threshold", 50)]
    assert window.see(row(900, 900)) == [("threshold", 100)]


def test_a_cap_of_nothing_is_used_up_by_anything_and_by_nothing_is_not() -> None:
    assert Window1().see(row(0, 0, calls=9), 30) == []
    assert Window1().see(row(1, 0, calls=9), 30) == [("threshold", 100)]


def test_without_a_cap_nothing_is_due_and_what_was_said_stays_said() -> None:
    window = Window1()
    assert window.see(row(900)) == [("threshold", 80)]
    assert window.see(row(10**9, None, calls=9, overrun=5), 30) == []
    assert window.see(row(900)) == []


def test_in_warn_mode_sums_beyond_the_cap_are_due_once_and_forecast_nothing() -> None:
    window = Window1()
    assert window.see(row(3000, calls=9), 30) == [("threshold", 100)]
    assert window.see(row(9000, calls=10), 40) == []


def test_a_forecast_is_due_once_a_cap() -> None:
    window = Window1()
    assert window.see(row(400, calls=9), 5) == [], "less than a tenth of the hour has passed"
    assert window.see(row(400, calls=9), 30) == []
    assert window.see(row(450, calls=9), 26) == [("forecast", 100)]
    assert window.see(row(490, calls=9), 27) == []
    assert window.see(row(490, 900, calls=9), 28) == [("threshold", 50), ("forecast", 100)]


def test_a_forecast_says_when() -> None:
    at = START + 20 * MINUTE
    (alert,) = due(row(400, calls=9), NOTHING_SAID, at=at, now=at)
    assert alert.exhausted_at == START + 50 * MINUTE


def test_a_forecast_of_what_would_be_past_by_now_is_not_due() -> None:
    at = START + 20 * MINUTE
    assert due(row(400, calls=9), NOTHING_SAID, at=at, now=START + 50 * MINUTE) == []


def test_an_overrun_is_due_once_a_window_whatever_the_cap() -> None:
    window = Window1()
    assert window.see(row(100, overrun=5)) == [("overrun", 0)]
    assert window.see(row(200, overrun=50)) == []
    assert window.see(row(200, 5000, overrun=60)) == []


def test_a_window_that_is_over_has_an_overrun_still_and_nothing_else() -> None:
    assert Window1().see(row(1000, calls=9, overrun=5), 60) == [("overrun", 0)]


@pytest.mark.parametrize(("window", "length"), [("hour", HOUR), ("day", 12 * HOUR)])
def test_old_decisions_that_are_read_again_alarm_nobody(window: Window, length: timedelta) -> None:
    one = row(1000, window=window, overrun=5)
    one = one.model_copy(update={"start": START if window == "hour" else START - 12 * HOUR})
    at, over = START + MINUTE, START + length
    assert len(due(one, NOTHING_SAID, at=at, now=over + LATE - MINUTE)) == 2, "a recorder that was away for a moment"
    assert due(one, NOTHING_SAID, at=at, now=over + LATE) == []


def test_an_alert_has_the_id_it_had_and_no_other_has_it() -> None:
    def raised(one: CostSpend, minute: int) -> list[CostAlert]:
        at = START + minute * MINUTE
        return due(one, NOTHING_SAID, at=at, now=at)

    alerts = [
        *raised(row(600), 1),
        *raised(row(800), 1),
        *raised(row(800, 900), 1),
        *raised(row(800, window="day"), 1),
        *raised(row(400, calls=9), 20),
        *raised(row(1, overrun=1), 1),
    ]
    ids = [id_of(alert) for alert in alerts]
    assert len(set(ids)) == len(ids) == 6
    assert id_of(raised(row(799), 2)[0]) == ids[0]
    assert id_of(raised(row(9, 70, overrun=4), 3)[0]) == ids[-1], "an overrun whatever the cap"


@pytest.mark.parametrize("said", [NOTHING_SAID, Announced(5, 80, forecast=True), Announced(0, 100, overrun=True)])
def test_what_was_said_is_read_back_from_the_tables_row(said: Announced) -> None:
    assert said_in(fields_of(said)) == said


def test_rows_of_before_there_were_alerts_have_said_nothing() -> None:
    assert said_in({"settled": 1, "as_of": 5}) == said_in(None) == NOTHING_SAID
