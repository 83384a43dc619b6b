from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from genai_prices import Usage
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given
from hypothesis import strategies as st

from millrace.clock import ManualClock
from millrace.models.port import Use
from millrace.models.published import Published, Rates, find_model
from millrace.money import micro_usd

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TOKENS = st.integers(0, 3_000_000)
TWO = st.lists(TOKENS, min_size=2, max_size=2).map(sorted)
MODELS = [
    (provider, model)
    for provider in providers
    for model in provider.models
    if Rates.of(model.get_prices(NOW)).known(writes=False)
]


def published(model: ModelInfo, clock: ManualClock, *, writes: bool = True) -> Published:
    return Published(model, writes=writes, clock=clock)


def made(prices: ModelPrice | list[ConditionalPrice]) -> ModelInfo:
    return ModelInfo(id="made", match=ClauseEquals("made"), prices=prices)


def flat(dollars: str) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(dollars), output_mtok=Decimal(dollars))


@given(st.sampled_from(MODELS), TWO, TWO, st.integers(0, 3 * 365 * 24), st.integers(0, 24 * 60))
def test_a_hold_covers_every_published_price_whenever_the_call_ends_within_a_day(
    found: tuple[object, ModelInfo], tokens_in: list[int], tokens_out: list[int], hours: int, minutes: int
) -> None:
    _, model = found
    clock = ManualClock(NOW)
    tariff = published(model, clock, writes=False)
    clock.advance(timedelta(hours=hours))
    held = tariff.most(tokens_in[1], tokens_out[1])
    clock.advance(timedelta(minutes=minutes))
    assert tariff.cost(Use(tokens_in[0], tokens_out[0])) <= held


@given(st.sampled_from(MODELS), TOKENS, TOKENS)
def test_a_call_is_never_charged_less_than_the_package_says(
    found: tuple[object, ModelInfo], tokens_in: int, tokens_out: int
) -> None:
    _, model = found
    price = model.get_prices(NOW)
    exact = micro_usd(price.calc_price(Usage(input_tokens=tokens_in, output_tokens=tokens_out))["total_price"])
    charged = published(model, ManualClock(NOW), writes=False).cost(Use(tokens_in, tokens_out))
    assert charged >= exact
    if price.cache_write_mtok is None and price.output_reasoning_mtok is None:
        assert charged == exact


def test_known_prices_are_known_without_asking_anybody() -> None:
    clock = ManualClock(NOW)
    assert (
        Published(find_model("gpt-4o-mini", None), writes=True, clock=clock).cost(Use(1_000_000, 1_000_000))
        == 750_000
    )
    assert Published(find_model("text-embedding-3-small", None), writes=False, clock=clock).most(1_000_000) == 20_000


def test_a_tier_is_chosen_by_the_size_of_the_prompt() -> None:
    tiers = TieredPrices(base=Decimal(1), tiers=[Tier(start=1000, price=Decimal(2))])
    tariff = published(made(ModelPrice(input_mtok=tiers, output_mtok=tiers)), ManualClock(NOW))
    assert tariff.cost(Use(1000, 1000)) == 2000
    assert tariff.cost(Use(1001, 1000)) == 4002


def test_a_hold_covers_a_smaller_prompt_in_a_dearer_tier() -> None:
    tiers = TieredPrices(base=Decimal(3), tiers=[Tier(start=1000, price=Decimal(1))])
    tariff = published(made(ModelPrice(input_mtok=tiers, output_mtok=Decimal(1))), ManualClock(NOW))
    assert tariff.cost(Use(2000)) == 2000
    assert tariff.most(2000) == 6000 >= tariff.cost(Use(1000))


def test_tokens_that_a_provider_may_write_to_its_cache_are_charged_as_such() -> None:
    price = ModelPrice(input_mtok=Decimal(1), cache_write_mtok=Decimal("1.25"), output_mtok=Decimal(1))
    assert published(made(price), ManualClock(NOW)).cost(Use(1000)) == 1250


def test_a_price_that_begins_during_a_call_is_held_for() -> None:
    at = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
    dearer = ConditionalPrice(constraint=StartDateConstraint(date(2026, 3, 2)), prices=flat("5"))
    clock = ManualClock(at)
    tariff = published(made([ConditionalPrice(prices=flat("1")), dearer]), clock)
    assert (tariff.most(1000), tariff.cost(Use(1000))) == (5000, 1000)
    clock.advance(timedelta(minutes=1))
    assert tariff.cost(Use(1000)) == 5000


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-9))])
def test_peak_hours_are_held_for(zone: timezone) -> None:
    peak = TimeOfDateConstraint(time(3, 30, tzinfo=zone), time(4, 0, tzinfo=zone))
    clock = ManualClock(NOW)
    tariff = published(
        made([ConditionalPrice(prices=flat("1")), ConditionalPrice(constraint=peak, prices=flat("2"))]), clock
    )
    costs = []
    held = tariff.most(1000)
    for _ in range(24 * 2):
        clock.advance(timedelta(minutes=30))
        costs.append(tariff.cost(Use(1000)))
    assert held == 2000
    assert sorted(set(costs)) == [1000, 2000]


@pytest.mark.parametrize("later", [ModelPrice(), flat("0")])
def test_a_price_that_is_gone_when_the_call_was_paid_is_charged_as_it_was_known_at_the_start(
    later: ModelPrice,
) -> None:
    gone = ConditionalPrice(constraint=StartDateConstraint(date(2026, 3, 2)), prices=later)
    clock = ManualClock(NOW)
    tariff = published(made([ConditionalPrice(prices=flat("1")), gone]), clock)
    clock.advance(timedelta(days=1))
    assert tariff.cost(Use(1000, 1000)) == 2000 == tariff.most(1000, 1000)


@pytest.mark.parametrize(
    "price",
    [
        flat("0"),
        ModelPrice(),
        ModelPrice(audio_hours=Decimal("0.36")),
        ModelPrice(input_mtok=Decimal(1)),
        ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(0)),
        ModelPrice(input_mtok=TieredPrices(base=Decimal(0), tiers=[Tier(9, Decimal(1))]), output_mtok=Decimal(1)),
    ],
)
def test_a_price_of_nothing_for_some_tokens_is_no_price(price: ModelPrice) -> None:
    with pytest.raises(LookupError, match="made"):
        published(made(price), ManualClock(NOW))


def test_a_price_a_request_is_charged_besides() -> None:
    price = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(5))
    assert published(made(price), ManualClock(NOW)).cost(Use(1000)) == 6000
