"""Rows that somebody else wrote over newer ones are found, those of our own on their way are not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from millrace.contracts.events import Window
from services.cost_ledger.late import GRACE, LateRows, Place
from services.cost_ledger.spend import JsonRow, Known, SpendBook

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLACE = Place("changelog", 2, "hour", "a|transcribe|0")
OURS = {PLACE: 30}


def row(as_of: int, settled: int) -> JsonRow:
    return {"settled": settled, "held": 0, "unconfirmed": 0, "overrun": 0, "calls": 1, "as_of": as_of, "at": 0}


def test_a_last_row_that_stays_older_than_the_tables_is_overwritten() -> None:
    late = LateRows()
    late.note(PLACE, 20, NOW)
    assert late.overwritten(OURS.get, NOW + GRACE - timedelta(milliseconds=1)) == {}
    assert late.overwritten(OURS.get, NOW + GRACE) == {2: {"hour": {"a|transcribe|0"}}}
    assert late.overwritten(OURS.get, NOW + GRACE) == {}, "the new row needs a moment"
    assert late.overwritten(OURS.get, NOW + 2 * GRACE) != {}, "until it has been read"
    late.note(PLACE, 30, NOW + 2 * GRACE)
    assert late.overwritten(OURS.get, NOW + 4 * GRACE) == {}


def test_rows_that_follow_one_another_are_no_trouble() -> None:
    late = LateRows()
    for second in range(30):
        now = NOW + timedelta(seconds=second)
        late.note(PLACE, second, now)
        assert late.overwritten({PLACE: second + 1}.get, now) == {}


def test_rows_that_the_table_does_not_have_are_not_ours_to_judge() -> None:
    late = LateRows()
    late.note(PLACE, 20, NOW)
    assert late.overwritten(dict[Place, int]().get, NOW + GRACE) == {}


def test_the_newer_row_is_taken_over_with_the_alerts_that_were_raised() -> None:
    window: Window = "hour"
    stale, newer, equal = "a|transcribe|0", "a|total|0", "b|total|0"
    rows = {stale: row(10, 1) | {"alert_percent": 50}, newer: row(30, 3), equal: row(20, 9)}
    book = SpendBook(window, rows, lambda _: 0)
    known = [Known(window, key, row(20, 2)) for key in (stale, newer, equal, "new|total|0")]
    caps = [Known(window, "|cap|0|a|transcribe", {"cap": 5, "as_of": 3}), Known("day", "other|total|0", row(1, 1))]

    names = book.mend([*known, *caps])

    assert [name.key for name in names] == [stale, "new|total|0"]
    assert rows[stale] == row(20, 2) | {"alert_percent": 50}
    assert (rows[newer], rows[equal]) == (row(30, 3), row(20, 9))
    assert rows["|cap|0|a|transcribe"] == {"cap": 5, "as_of": 3}
    assert "other|total|0" not in rows
