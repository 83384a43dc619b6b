"""Costs, use, break-even: what they come to once the rows are there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from millrace.contracts.budget_api import BudgetRow
from millrace.money import MicroUSD
from services.api_gateway.break_even import Gpu, break_even, by_api
from services.api_gateway.budget_status import against_cap
from services.api_gateway.cost_shapes import Cell, UnitsOf, groups, series, sums, total
from services.api_gateway.lags import behind
from services.api_gateway.model_figures import compared
from services.api_gateway.spans import span_of
from services.api_gateway.use_shapes import Use, by_user
from services.api_gateway.use_shapes import series as use_series

NOW = datetime(2030, 3, 1, 12, 30, tzinfo=UTC)
TODAY = datetime(2030, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CELLS = [
    Cell("embed", "a", TODAY, settled=10, held=5, calls=2),
    Cell("embed", None, TODAY, unconfirmed=15, calls=1),
    Cell("search", "a", TODAY - timedelta(days=2), settled=70, overrun=3, calls=4),
]


def test_sums_hold_every_kind_of_money() -> None:
    found = sums(CELLS)
    assert found.settled_micro_usd == 80
    assert (found.held_micro_usd, found.unconfirmed_micro_usd, found.overrun_micro_usd) == (5, 15, 3)
    assert found.calls == 7


def test_groups_by_model_begin_with_the_dearest_and_keep_what_has_no_model() -> None:
    found = groups(CELLS, "model")
    assert [(one.key, one.percent, one.calls) for one in found] == [("a", 85, 6), (None, 15, 1)]


def test_groups_by_time_are_in_its_order() -> None:
    found = groups(CELLS, "day")
    assert [one.key for one in found] == ["2030-02-27T00:00:00+00:00", "2030-03-01T00:00:00+00:00"]
    assert [one.percent for one in groups(CELLS, "stage")] == [70, 30]


def test_a_series_has_its_empty_buckets() -> None:
    found = series(CELLS, span_of("7d", NOW))
    assert [one.settled_micro_usd for one in found] == [0, 0, 0, 0, 70, 0, 10]
    assert found[-1].start == TODAY


def test_hours_are_gathered_into_the_days_of_a_long_series() -> None:
    cells = [Cell("embed", "a", TODAY + hour * HOUR, settled=1) for hour in range(24)]
    assert series(cells, span_of("7d", NOW))[-1].settled_micro_usd == 24
    assert len(groups(cells, "hour")) == 24


def test_units_are_unknown_where_no_work_has_said_any() -> None:
    assert (
        total([UnitsOf("transcribe", "a", "api", None, 5), UnitsOf("transcribe", "b", "api", None, 6)]).audio_ms == 11
    )
    assert total([UnitsOf("transcribe", "a", "api", None, 5)]).tokens is None


def test_a_models_cost_a_unit_is_rounded_up_and_unknown_without_units() -> None:
    cell = [Cell("summarize", "m", TODAY, settled=1, calls=1)]
    seen = {"looked_at": 3, "failed": 1, "count": 2, "p50_ms": 10, "p95_ms": 20}
    one = compared(("summarize", "m"), cell, [UnitsOf("summarize", "m", "api", 3_000_000, None)], seen)
    assert (one.micro_usd_per_million_tokens, one.micro_usd_per_audio_hour) == (1, None)
    assert one.latency is not None
    assert (one.failed, one.latency.p95_ms) == (1, 20)
    other = compared(("summarize", "m"), cell, [UnitsOf("embed", "m", "api", 5, None)], None)
    assert (other.micro_usd_per_million_tokens, other.latency, other.looked_at) == (None, None, 0)


def test_users_come_in_the_order_of_what_they_spent_and_nobody_is_last_of_equals() -> None:
    span = span_of("7d", NOW)
    found = [
        Use(None, TODAY, settled=5),
        Use("b", TODAY, settled=5),
        Use("a", TODAY, shares=2),
        Use("c", TODAY, calls=1),
    ]
    assert [(one.user, one.percent) for one in by_user(found, span)] == [("b", 50), (None, 50), ("a", 0), ("c", 0)]
    assert sum(one.settled_micro_usd for one in use_series(found, span)) == 10
    assert len(by_user(found, span)[0].series) == 7


@pytest.mark.parametrize(
    ("cap", "percent"), [(None, None), (0, 100), (100, 99), (99, 100), (50, 198), (10_000_000, 0)]
)
def test_a_cap_is_reached_at_a_hundred_percent_and_not_before(cap: int | None, percent: int | None) -> None:
    row = BudgetRow.model_validate(
        {
            "account": "a",
            "scope": "embed",
            "window": "hour",
            "start": NOW,
            "settled_micro_usd": 50,
            "held_micro_usd": 40,
            "unconfirmed_micro_usd": 9,
            "overrun_micro_usd": 7,
            "cap_micro_usd": cap,
            "calls": 1,
        }
    )
    found = against_cap(row)
    assert (found.used_micro_usd, found.percent) == (99, percent)


GPU = Gpu(MicroUSD(500_000), Decimal("0.1"))  # half a dollar an hour, ten times as fast as the speaker


def test_from_so_much_sound_a_rented_gpu_pays() -> None:
    span = span_of("24h", NOW)
    found = break_even(span, paid=MicroUSD(720_000), audio_ms=7_200_000, listed_per_hour=MicroUSD(1), gpu=GPU)
    assert (found.price_from, found.api_micro_usd_per_audio_hour) == ("paid", 360_000)
    assert found.gpu_rented_micro_usd == 24 * 500_000
    assert (found.gpu_busy_ms, found.gpu_busy_micro_usd) == (720_000, 100_000)
    assert found.break_even_audio_ms == -(-12_000_000 * 3_600_000 // 360_000)  # 33 h 20 min, 3 h 20 min of work
    assert found.cheaper == "api"


def test_a_gpu_that_cannot_work_through_so_much_never_pays() -> None:
    span = span_of("24h", NOW)
    slow = Gpu(MicroUSD(500_000), Decimal(1))
    assert (
        break_even(
            span, paid=MicroUSD(0), audio_ms=0, listed_per_hour=MicroUSD(360_000), gpu=slow
        ).break_even_audio_ms
        is None
    )
    free = break_even(span, paid=MicroUSD(0), audio_ms=0, listed_per_hour=MicroUSD(0), gpu=GPU)
    assert (free.break_even_audio_ms, free.price_from) == (None, "list")
    dear = break_even(span, paid=MicroUSD(99_000_000), audio_ms=1, listed_per_hour=MicroUSD(1), gpu=GPU)
    assert dear.cheaper == "gpu"


def test_what_this_machine_heard_is_no_apis() -> None:
    costs = [Cell("transcribe", name, TODAY, settled=money) for name, money in (("api", 10), ("own", 5), ("new", 1))]
    done = [UnitsOf("transcribe", "api", "api", None, 60_000), UnitsOf("transcribe", "own", "local", None, 9_000)]
    assert by_api(costs, done) == (11, 60_000)


def test_a_group_is_behind_by_what_lies_after_its_commits() -> None:
    committed = {("t", 0): 5, ("t", 1): 9, ("gone", 0): 1}
    assert behind(committed, {("t", 0): 8, ("t", 1): 7}) == 3
