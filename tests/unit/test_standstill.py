"""The judge of chaos runs measures how long a commit stands still, and leaves out what waits for a long job."""

from __future__ import annotations

import pytest

from tests.chaos.audit import StandStill

PLACE, OTHER = ("share.created", 2), ("summarize.requested", 1)


@pytest.fixture
def still() -> StandStill:
    return StandStill()


def test_a_commit_stands_still_from_its_last_move_while_records_lie_behind_it(still: StandStill) -> None:
    for now, committed, end in ((0, 3, 5), (10, 4, 5), (17, 4, 6), (30, 5, 6)):
        still.look(now, {PLACE: committed}, {PLACE: end})
    assert still.longest_s == 7
    assert still.where.startswith("share.created-2@4 of 6")


def test_where_everything_is_committed_nothing_stands_still(still: StandStill) -> None:
    for now in (0, 100):
        still.look(now, {PLACE: 5}, {PLACE: 5})
    assert still.longest_s == 0


def test_what_waits_for_the_long_job_does_not_stand_still_but_what_waits_elsewhere_does(still: StandStill) -> None:
    still.long_jobs = {(PLACE, 0), (OTHER, 3)}
    for now in (0, 100):
        still.look(now, {OTHER: 3}, {PLACE: 5, OTHER: 4})
    assert still.longest_s == 0
    for now in (101, 102, 109):
        still.look(now, {PLACE: 1, OTHER: 3}, {PLACE: 5, OTHER: 4})
    assert still.longest_s == 8
