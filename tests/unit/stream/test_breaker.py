"""For how long a provider that is down is left alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.stream.breaker import FIRST_PAUSE_S, LONGEST_ASKED_S, LONGEST_PAUSE_S, pause


@pytest.mark.parametrize(("closings", "seconds"), [(0, 10), (1, 20), (2, 40), (4, 160), (5, 300), (400, 300)])
def test_each_pause_in_a_row_is_twice_as_long_up_to_a_limit(closings: int, seconds: int) -> None:
    assert pause(closings) == timedelta(seconds=seconds)


def test_who_asks_for_longer_is_given_longer_but_no_year() -> None:
    assert pause(0, 45.0) == timedelta(seconds=45)
    assert pause(3, 45.0) == timedelta(seconds=80)
    assert pause(0, float("inf")) == timedelta(days=1)


@given(st.integers(0, 10_000), st.none() | st.floats(allow_nan=False))
def test_no_pause_is_shorter_than_the_first_or_longer_than_a_day(closings: int, asked: float | None) -> None:
    found = pause(closings, asked).total_seconds()
    assert FIRST_PAUSE_S <= found <= max(LONGEST_PAUSE_S, LONGEST_ASKED_S)
