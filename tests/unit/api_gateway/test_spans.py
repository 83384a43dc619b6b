from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.analytics_api import WindowName
from services.api_gateway.spans import percentages, span_of

MOMENT = datetime(2030, 3, 1, 0, 30, 15, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "since", "until", "buckets"),
    [
        ("1h", datetime(2030, 3, 1, 0, tzinfo=UTC), datetime(2030, 3, 1, 1, tzinfo=UTC), 1),
        ("24h", datetime(2030, 2, 28, 1, tzinfo=UTC), datetime(2030, 3, 1, 1, tzinfo=UTC), 24),
        ("7d", datetime(2030, 2, 23, tzinfo=UTC), datetime(2030, 3, 2, tzinfo=UTC), 7),
        ("30d", datetime(2030, 1, 31, tzinfo=UTC), datetime(2030, 3, 2, tzinfo=UTC), 30),
    ],
)
def test_a_window_is_whole_buckets_and_ends_with_the_present_one(
    window: WindowName, since: datetime, until: datetime, buckets: int
) -> None:
    span = span_of(window, MOMENT)
    assert (span.since, span.until) == (since, until)
    assert len(span.starts()) == buckets
    assert span.starts()[0] == since


def test_a_boundary_belongs_to_the_bucket_that_it_opens() -> None:
    midnight = datetime(2030, 3, 1, tzinfo=UTC)
    assert span_of("1h", midnight).since == midnight
    assert span_of("1h", midnight - timedelta(microseconds=1)).until == midnight


@given(st.lists(st.integers(min_value=0, max_value=10**15), min_size=1, max_size=60))
def test_percentages_add_up_to_a_hundred_and_none_is_off_by_a_whole_one(amounts: list[int]) -> None:
    found = percentages(amounts)
    total = sum(amounts)
    assert sum(found) == (100 if total else 0)
    assert all(abs(part * total - 100 * amount) < max(total, 1) for part, amount in zip(found, amounts, strict=True))


def test_percentages_of_nothing_and_of_equal_parts() -> None:
    assert percentages([]) == []
    assert percentages([0, 0]) == [0, 0]
    assert percentages([1, 1, 1]) == [34, 33, 33]
    assert percentages([2, 0, 1]) == [67, 0, 33]
