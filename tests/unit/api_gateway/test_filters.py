"""What a search is limited to, as conditions."""

from __future__ import annotations

from datetime import UTC, datetime

from services.api_gateway.filters import EVERYTHING, Filters

SINCE = datetime(2026, 11, 1, tzinfo=UTC)


def test_no_limits_are_no_conditions() -> None:
    assert EVERYTHING.sql(first=4) == ("", [])


def test_values_are_parameters_in_the_order_of_their_conditions() -> None:
    sql, values = Filters(kind="text", since=SINCE, share_id="s'; DROP TABLE shares").sql(first=4)
    assert sql == "AND s.source_kind = $4 AND s.created_at >= $5 AND s.share_id = $6"
    assert values == ["text", SINCE, "s'; DROP TABLE shares"]


def test_a_parameter_that_stands_twice_is_one() -> None:
    sql, values = Filters(content_type="video", language="en", category="science").sql(first=8)
    assert {name for name in ("$8", "$9", "$10", "$11") if name in sql} == {"$8", "$9", "$10"}
    assert values == ["video", "en", "science"]


def test_a_share_can_be_left_out() -> None:
    assert Filters(other_than="s").sql(first=4) == ("AND s.share_id <> $4", ["s"])


def test_quality_is_a_models_before_that_of_the_rule() -> None:
    sql, values = Filters(least_quality=0.5).sql(first=4)
    assert sql.index("w.result ->> 'quality'") < sql.index("i.quality")
    assert sql.endswith(">= $4")
    assert values == [0.5]
