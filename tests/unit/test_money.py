from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.money import LARGEST, MicroUSD, cost_of, format_usd, micro_usd, written_usd

dollars = st.decimals(min_value=0, max_value=10**9, places=9)


@given(dollars)
def test_rounding_never_undercounts_and_never_adds_a_whole_micro_dollar(amount: Decimal) -> None:
    micro = Decimal(micro_usd(amount)) / 1_000_000
    assert 0 <= micro - amount < Decimal("0.000001")


@given(st.lists(st.tuples(st.integers(0, 10**7), dollars.filter(lambda d: d < 1)), max_size=20))
def test_rounding_each_call_up_covers_the_invoice(calls: list[tuple[int, Decimal]]) -> None:
    invoice = sum((units * price for units, price in calls), Decimal(0))
    assert sum(cost_of(units, price) for units, price in calls) >= invoice * 1_000_000


@pytest.mark.parametrize("amount", ["-1", "NaN", "Infinity", "one", ""])
def test_what_is_not_an_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        micro_usd(amount)


def test_whisper_by_the_minute() -> None:
    assert cost_of(Decimal(11) / 60, Decimal("0.006")) == 1100


@given(st.integers(-(10**15), 10**15))
def test_shown_dollars_lose_nothing(amount: int) -> None:
    shown = format_usd(MicroUSD(amount))
    assert Decimal(shown.replace("$", "")) * 1_000_000 == amount


@pytest.mark.parametrize(
    ("micro", "shown"), [(0, "$0.00"), (1_250_000, "$1.25"), (42, "$0.000042"), (-5, "-$0.000005")]
)
def test_format(micro: int, shown: str) -> None:
    assert format_usd(MicroUSD(micro)) == shown


@pytest.mark.parametrize(
    ("text", "micro"), [("5", 5_000_000), ("$1.25", 1_250_000), ("0.000001", 1), ("0", 0), ("10000000", LARGEST)]
)
def test_people_write_dollars(text: str, micro: int) -> None:
    assert written_usd(text) == micro


@pytest.mark.parametrize(
    "text", ["", "$", "1,50", "1e3", "-1", "0.0000001", "10000000.01", "nan", "1_000", "٣", "1\n"]
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^an amount is "):
        written_usd(text)
