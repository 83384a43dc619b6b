"""When the fault is the stage's and not its jobs'."""

from __future__ import annotations

import pytest

from millrace.stream.dead_ratio import DeadLimit, too_many

DEAD, WELL = True, False
LIMIT = DeadLimit(share=0.5, last=50, least=20)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([], False),
        ([DEAD] * 19, False),
        ([DEAD] * 20, True),
        ([DEAD] * 10 + [WELL] * 10, False),
        ([DEAD] * 11 + [WELL] * 9, True),
        ([DEAD] * 1000 + [WELL] * 25 + [DEAD] * 25, False),
        ([WELL] * 1000 + [DEAD] * 26, True),
        ([WELL] * 1000 + [DEAD] * 25, False),
    ],
)
def test_more_than_the_share_of_the_last_jobs_is_too_many(ends: list[bool], expected: bool) -> None:
    assert too_many(ends, LIMIT) is expected


def test_a_share_of_one_is_no_limit() -> None:
    assert not too_many([DEAD] * 1000, DeadLimit(share=1.0))


def test_fewer_than_the_least_are_judged_where_no_more_are_looked_at() -> None:
    assert too_many([DEAD] * 5, DeadLimit(last=5, least=20))
    assert not too_many([DEAD] * 4, DeadLimit(last=5, least=20))
