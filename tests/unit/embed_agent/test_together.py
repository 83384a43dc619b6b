from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.ids import WorkKey
from millrace.money import MicroUSD
from services.embed_agent.together import AT_ONCE, OffPeak, Part, Patience, PendingText, divided, parts_of

NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
NIGHT = OffPeak.read("22:00-06:00")
MINUTES = timedelta(minutes=5)


@pytest.mark.parametrize(
    ("window", "hour", "minutes"),
    [
        ("22:00-06:00", 12, 600),
        ("22:00-06:00", 22, 0),
        ("22:00-06:00", 0, 0),
        ("22:00-06:00", 5, 0),
        ("22:00-06:00", 6, 16 * 60),
        ("01:30-02:00", 1, 30),
        ("01:30-02:00", 2, 23 * 60 + 30),
        ("11:00-13:00", 12, 0),
    ],
)
def test_a_window_opens_every_day(window: str, hour: int, minutes: int) -> None:
    assert OffPeak.read(window).opens_in(NOON.replace(hour=hour)) == timedelta(minutes=minutes)


@pytest.mark.parametrize("written", ["", "22-06", "24:00-06:00", "22:60-06:00", "22:00-22:00", "22:00-06:00 UTC"])
def test_what_is_no_window_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="such as 22:00-06:00"):
        OffPeak.read(written)


def test_short_shares_go_at_once_and_long_ones_wait_for_others() -> None:
    patience = Patience(MINUTES, short=1000, off_peak=NIGHT)
    assert patience.times(1000, NOON, in_bulk=False).latest == timedelta(0)
    assert patience.times(1001, NOON, in_bulk=False).latest == MINUTES
    assert patience.times(1001, NOON, in_bulk=False).opens == timedelta(0)
    assert AT_ONCE.times(10**6, NOON, in_bulk=True).latest == timedelta(0)


def test_what_a_replay_asks_for_waits_for_its_window_however_short_it_is() -> None:
    patience = Patience(MINUTES, short=1000, off_peak=NIGHT)
    times = patience.times(1, NOON, in_bulk=True)
    assert (times.opens, times.latest) == (timedelta(hours=10), timedelta(hours=10) + MINUTES)
    assert patience.times(1, NOON.replace(hour=23), in_bulk=True).latest == MINUTES
    assert Patience(MINUTES, short=1000).times(1, NOON, in_bulk=True).latest == MINUTES


@given(st.integers(0, 10**9), st.lists(st.integers(1, 10**6), min_size=1, max_size=200))
def test_parts_add_up_and_are_within_one_of_their_share(total: int, weights: list[int]) -> None:
    parts = divided(total, weights)
    assert sum(parts) == total
    assert all(abs(part - total * weight / sum(weights)) < 1 for part, weight in zip(parts, weights, strict=True))


def test_each_work_pays_for_its_tokens() -> None:
    def text(work: str, tokens: int) -> PendingText:
        return PendingText(WorkKey(work), f"share of {work}", f"{work}{tokens}", "text", tokens)

    parts = parts_of([text("a", 100), text("b", 50), text("a", 50), text("c", 0)], 201, MicroUSD(11))
    assert parts == [
        Part(work_key=WorkKey(work), share_id=f"share of {work}", tokens=tokens, cost_micro_usd=MicroUSD(cost))
        for work, tokens, cost in [("a", 150, 8), ("b", 50, 3), ("c", 1, 0)]
    ]
