"""Whose clock decides: the broker's alone, in UTC, at any turn of hour, day, month and year."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from millrace.clock import from_millis, millis
from services.cost_ledger.rows import WindowKey, WindowRow
from tests.unit.ledger.build import HOUR, Partition, everybody, outcomes, reserve, set_cap, settle


def test_a_clients_clock_decides_nothing() -> None:
    skewed = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2999, 12, 31, tzinfo=UTC),
        datetime(2026, 3, 1, 13, tzinfo=UTC),
    ]
    answers = []
    for clock in skewed:
        ledger = Partition()
        ledger.ask(set_cap("hour", 100))
        answers.append(ledger.ask(*(reserve(n, 60).model_copy(update={"requested_at": clock}) for n in ("1", "2"))))

    assert answers[0] == answers[1] == answers[2]
    assert outcomes(answers[0]) == ["granted", "denied"]


def test_an_hour_that_turns_within_a_batch_splits_it() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), set_cap("day", 250))
    last = ledger.now - ledger.now % HOUR + HOUR - 1
    records = [ledger.next(reserve(str(n), 50), at=last + (n >= 4)) for n in range(8)]

    batch = ledger.state.batch(records, everybody)

    assert outcomes(batch.decisions) == [
        "granted",
        "granted",
        "denied",
        "denied",
        "granted",
        "granted",
        "denied",
        "denied",
    ]
    assert batch.decisions[2].room_at == from_millis(last + 1), "the boundary belongs to the hour that it opens"
    assert {d.hour_start for d in batch.decisions[:4]} != {d.hour_start for d in batch.decisions[4:]}
    assert batch.decisions[-1].denied_by == "hour:transcribe"


def test_what_settles_in_a_later_hour_counts_where_it_was_held() -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 100), reserve("1", 90))
    start = ledger.now - ledger.now % HOUR
    ledger.now += HOUR
    ledger.ask(settle("1", 70), reserve("2", 100))

    rows = {
        key.start: row
        for key, row in ledger.state.rows.items()
        if isinstance(key, WindowKey)
        and isinstance(row, WindowRow)
        and (key.window, key.scope) == ("hour", "transcribe")
    }
    assert rows == {start: WindowRow(settled=70, calls=1), start + HOUR: WindowRow(held=100, calls=1)}


@pytest.mark.parametrize(
    ("at", "day", "next_day"),
    [
        ("2026-03-29T00:30+00:00", "2026-03-29", "2026-03-30"),  # clocks go forward in Berlin: 23 hours there
        ("2026-10-25T01:30+00:00", "2026-10-25", "2026-10-26"),  # and back: 25 hours
        ("2026-11-01T06:30+00:00", "2026-11-01", "2026-11-02"),  # back in New York
        ("2027-01-31T23:59:59.999+00:00", "2027-01-31", "2027-02-01"),
        ("2028-02-28T23:59:59.999+00:00", "2028-02-28", "2028-02-29"),
        ("2028-02-29T23:59:59.999+00:00", "2028-02-29", "2028-03-01"),
        ("2027-02-28T23:59:59.999+00:00", "2027-02-28", "2027-03-01"),
        ("2026-12-31T23:59:59.999+00:00", "2026-12-31", "2027-01-01"),
    ],
)
def test_days_are_utc_days_of_24_hours(at: str, day: str, next_day: str) -> None:
    ledger = Partition()
    ledger.ask(set_cap("day", 100))
    ledger.now = millis(datetime.fromisoformat(at))

    first, denied = ledger.ask(reserve("1", 100), reserve("2", 1))

    assert (first.outcome, denied.outcome) == ("granted", "denied")
    assert f"{first.day_start:%Y-%m-%dT%H:%M:%S%z}" == f"{day}T00:00:00+0000"
    assert f"{denied.room_at:%Y-%m-%dT%H:%M:%S%z}" == f"{next_day}T00:00:00+0000"
    assert denied.room_at is not None
    ledger.now = millis(denied.room_at) - 1
    assert ledger.ask_one(reserve("3", 1)).outcome == "denied"
    ledger.now += 1
    assert ledger.ask_one(reserve("4", 100)).outcome == "granted"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"])
def test_the_hour_that_a_zone_repeats_or_skips_is_no_special_hour(zone: str) -> None:
    ledger = Partition()
    ledger.ask(set_cap("hour", 10))
    start = millis(datetime(2026, 10, 24, 20, tzinfo=UTC))
    granted = 0
    for step in range(48):  # half hours around the change
        ledger.now = start + step * HOUR // 2
        answer = ledger.ask_one(reserve(f"{zone}-{step}", 10))
        granted += answer.outcome == "granted"
        assert answer.hour_start is not None
        assert answer.hour_start.astimezone(ZoneInfo(zone)) <= answer.decided_at
    assert granted == 24, "one an hour, as the hours of UTC go"


def test_milliseconds_survive_the_way_through_a_moment() -> None:
    for value in (0, 1, 999, 1_700_000_000_001, 1_799_999_999_999, 4_102_444_799_999):
        assert millis(from_millis(value)) == value
