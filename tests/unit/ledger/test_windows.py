"""Where hours and days begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from millrace.clock import from_millis, millis
from millrace.contracts.events import Window
from services.cost_ledger.windows import next_start, start_of


@pytest.mark.parametrize(
    ("at", "hour", "day"),
    [
        ("2026-03-01T00:00:00.000", "2026-03-01T00", "2026-03-01T00"),
        ("2026-03-01T00:59:59.999", "2026-03-01T00", "2026-03-01T00"),
        ("2026-03-01T01:00:00.000", "2026-03-01T01", "2026-03-01T00"),
        ("2024-02-29T23:59:59.999", "2024-02-29T23", "2024-02-29T00"),
        ("2026-03-29T02:30:00.000", "2026-03-29T02", "2026-03-29T00"),  # clocks change in Europe, not in UTC
        ("1969-12-31T23:30:00.000", "1969-12-31T23", "1969-12-31T00"),
    ],
)
def test_a_boundary_belongs_to_the_window_that_it_opens(at: str, hour: str, day: str) -> None:
    moment = millis(datetime.fromisoformat(at).replace(tzinfo=UTC))

    assert from_millis(start_of("hour", moment)) == datetime.fromisoformat(hour).replace(tzinfo=UTC)
    assert from_millis(start_of("day", moment)) == datetime.fromisoformat(day).replace(tzinfo=UTC)


@pytest.mark.parametrize(("window", "length"), [("hour", timedelta(hours=1)), ("day", timedelta(days=1))])
def test_windows_follow_each_other_without_gap_or_overlap(window: Window, length: timedelta) -> None:
    start = millis(datetime(2026, 12, 31, 23, tzinfo=UTC))
    begin = start_of(window, start)
    end = next_start(window, start)

    assert end - begin == length / timedelta(milliseconds=1)
    assert start_of(window, end - 1) == begin
    assert start_of(window, end) == end
