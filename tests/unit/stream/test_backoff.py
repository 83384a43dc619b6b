from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.stream.backoff import FIRST_S, LONGEST_ASKED_S, LONGEST_S, backoff


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True))
def test_delays_double_within_bounds_and_jitter(attempt: int, chance: float) -> None:
    plain = min(FIRST_S * 2.0 ** (attempt - 1), LONGEST_S)
    assert 0.7 * plain <= backoff(attempt, chance).total_seconds() + 1e-6
    assert backoff(attempt, chance).total_seconds() <= 1.3 * plain + 1e-6


def test_the_provider_may_ask_for_more_time_but_not_for_less() -> None:
    assert backoff(1, 0.5, retry_after_s=90).total_seconds() == 90
    assert backoff(1, 0.5, retry_after_s=0.1).total_seconds() == FIRST_S


def test_a_provider_that_asks_for_ages_is_not_believed() -> None:
    assert backoff(1, 0.5, retry_after_s=float("inf")).total_seconds() == LONGEST_ASKED_S
