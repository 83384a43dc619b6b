"""Standing still while there is work is a fault; waiting for work, or being slow, is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.cost_ledger.progress import Progress

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def test_only_standing_still_while_behind_is_a_stall() -> None:
    progress = Progress(timedelta(seconds=10))
    for second in range(100):
        progress.note(0, position=second // 5, end=1000, now=at(second))  # slow
        progress.note(1, position=7, end=7, now=at(second))  # idle
        assert progress.stalled(at(second)) is None

    progress.note(0, position=1000, end=1000, now=at(100))
    progress.note(1, position=7, end=8, now=at(100))
    assert progress.stalled(at(109)) is None
    assert progress.stalled(at(111)) == (1, at(100))

    progress.note(1, position=8, end=8, now=at(112))
    assert progress.stalled(at(500)) is None
