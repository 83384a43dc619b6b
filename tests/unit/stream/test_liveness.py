"""Standstill, whatever the heartbeats say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from millrace.kafka.records import Partition
from millrace.stream.liveness import STANDSTILL, Liveness, Standing

AT, OTHER = Partition("media.ready", 0), Partition("media.ready", 1)
START = datetime(2026, 1, 1, tzinfo=UTC)
FINE = Standing(end=9, next=9, undone=9, committed=9)


def after(looks: list[Standing], *, has_room: bool = True, every: timedelta = STANDSTILL) -> str | None:
    """What is said after looks at one partition; another one is always fine."""
    liveness, now = Liveness(), START
    for number, standing in enumerate(looks):
        now = START + number * every
        liveness.look(now, {AT: standing, OTHER: FINE}, has_room=has_room)
    return liveness.standstill(now + timedelta(seconds=1))


def test_what_is_done_and_not_committed_for_a_minute_is_a_standstill() -> None:
    stuck = Standing(end=9, next=9, undone=9, committed=5)
    assert after([stuck]) is None
    assert after([stuck, stuck]) == ("media.ready-0: done jobs have not been committed since 00:00:00 UTC (offset 5)")


def test_records_that_nobody_takes_are_a_standstill() -> None:
    stalled = Standing(end=9, next=5, undone=5, committed=5)
    assert after([stalled, stalled]) == "media.ready-0: records have not been taken since 00:00:00 UTC (offset 5)"


def test_a_full_pool_takes_nothing_and_is_fine() -> None:
    behind = Standing(end=900, next=5, undone=1, committed=1)
    assert after([behind] * 9, has_room=False) is None


@pytest.mark.parametrize(
    "looks",
    [
        [Standing(end=9, next=9, undone=9, committed=n) for n in range(5)],
        [Standing(end=9, next=n, undone=1, committed=1) for n in range(5)],
        [FINE, Standing(end=9, next=5, undone=5, committed=1), FINE],
        [Standing(end=20, next=12, undone=3, committed=3)] * 3 + [FINE],
    ],
)
def test_what_moves_or_has_nothing_to_do_is_fine(looks: list[Standing]) -> None:
    assert after(looks) is None


def test_a_long_job_at_the_head_is_no_standstill() -> None:
    """What is done behind it cannot be committed, and need not be."""
    assert after([Standing(end=12, next=12, undone=3, committed=3)] * 15) is None


def test_a_partition_that_went_away_is_forgotten() -> None:
    liveness = Liveness()
    liveness.look(START, {AT: Standing(end=9, next=5, undone=5, committed=5)}, has_room=True)
    liveness.look(START + STANDSTILL, {OTHER: FINE}, has_room=True)
    assert liveness.standstill(START + 2 * STANDSTILL) is None
