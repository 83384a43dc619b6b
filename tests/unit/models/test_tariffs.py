from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import ConfigurationError
from millrace.models.port import Use
from millrace.models.tariffs import PerSecond, PerToken, Published, api_tariff

TOKENS = st.integers(0, 10_000_000)
PRICE = st.decimals(0, 1000, places=4)


@given(
    st.lists(TOKENS, min_size=2, max_size=2).map(sorted), st.lists(TOKENS, min_size=2, max_size=2).map(sorted), PRICE
)
def test_a_hold_covers_every_call_within_its_bounds(
    tokens_in: list[int], tokens_out: list[int], price: Decimal
) -> None:
    tariff = PerToken(price, 4 * price)
    assert tariff.cost(Use(tokens_in[0], tokens_out[0])) <= tariff.most(tokens_in[1], tokens_out[1])


def test_tokens_are_priced_by_the_million_and_rounded_up_once_a_call() -> None:
    tariff = PerToken(Decimal("0.15"), Decimal("0.60"))
    assert tariff.cost(Use(tokens_in=1_000_000, tokens_out=1_000_000)) == 750_000
    assert tariff.cost(Use(tokens_in=1, tokens_out=1)) == 1


def test_seconds_are_charged_as_measured_and_free_by_default() -> None:
    assert PerSecond(Decimal("0.0001")).cost(Use(seconds=1.5)) == 150
    assert PerSecond(Decimal("0.0001")).cost(Use(seconds=0.00001)) == 1
    assert PerSecond(Decimal("0.0001")).most(1000) == 200
    assert PerSecond(Decimal(0)).most(10**6) == PerSecond(Decimal(0)).cost(Use(seconds=9)) == 0


def test_published_prices_are_known_without_asking_anybody() -> None:
    assert Published("gpt-4o-mini", None).cost(Use(1_000_000, 1_000_000)) == 750_000
    assert Published("text-embedding-3-small", None).most(1_000_000) == 20_000


@pytest.mark.parametrize(
    ("model", "base_url"), [("nobodys-model", None), ("gpt-4o-mini", "http://127.0.0.1:11434/v1")]
)
def test_a_model_without_a_price_is_refused_and_the_error_says_what_to_set(model: str, base_url: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"no price of the model .* set MILLRACE_X"):
        api_tariff(model=model, base_url=base_url, dollars_in=None, dollars_out=None, setting="MILLRACE_X")


def test_a_configured_price_comes_before_a_published_one() -> None:
    tariff = api_tariff(
        model="gpt-4o-mini", base_url=None, dollars_in=Decimal(0), dollars_out=None, setting="MILLRACE_X"
    )
    assert tariff.most(10**9, 10**9) == 0
