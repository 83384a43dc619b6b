"""The forecast of exhaustion: average rate of the window so far, sound or silent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.ledger.forecast import LEAST_CALLS, exhausted_at

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
END = START + timedelta(hours=1)


def forecast(minutes: float, used: int, cap: int | None = 1000, calls: int = 10) -> datetime | None:
    return exhausted_at(START, END, START + timedelta(minutes=minutes), used=used, cap=cap, calls=calls)


@pytest.mark.parametrize(
    ("minutes", "used", "at_minute"),
    [(30, 600, 50), (6, 500, 12), (20, 334, 59.880250), (45, 999, 45.045050), (59, 999, 59.059067)],
)
def test_spending_goes_on_at_the_average_rate(minutes: float, used: int, at_minute: float) -> None:
    found = forecast(minutes, used)
    assert found is not None
    assert abs(found - (START + timedelta(minutes=at_minute))) < timedelta(milliseconds=2)


@pytest.mark.parametrize(
    ("minutes", "used", "cap", "calls", "why"),
    [
        (30, 500, 1000, 10, "it lasts exactly until the window ends"),
        (30, 1, 10**18, 10, "it lasts for longer than dates reach"),
        (30, 600, None, 10, "there is no cap"),
        (5.9, 900, 1000, 10, "less than a tenth of the window has passed"),
        (0, 900, 1000, 10, "the window begins"),
        (-5, 900, 1000, 10, "the clock is behind the log"),
        (30, 600, 1000, LEAST_CALLS - 1, "too few calls for a rate"),
        (30, 0, 1000, 10, "nothing is used"),
        (30, 1000, 1000, 10, "it is used up already"),
        (30, 1200, 1000, 10, "more than the cap is used"),
        (30, 0, 0, 10, "a cap of nothing"),
        (30, 5, 0, 10, "a cap of nothing, and something used"),
    ],
)
def test_there_is_no_forecast_when(minutes: float, used: int, cap: int | None, calls: int, why: str) -> None:
    assert forecast(minutes, used, cap, calls) is None, why


@given(
    elapsed=st.integers(0, 3_600_000),
    used=st.integers(0, 10**12),
    cap=st.integers(0, 10**13),
    calls=st.integers(0, 10),
)
def test_a_forecast_lies_between_now_and_the_end_of_the_window(elapsed: int, used: int, cap: int, calls: int) -> None:
    at = START + timedelta(milliseconds=elapsed)
    found = exhausted_at(START, END, at, used=used, cap=cap, calls=calls)
    assert found is None or at <= found < END
