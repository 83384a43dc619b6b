from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from millrace.models.port import Use
from millrace.models.tariffs import PerMinute, PerSecond, PerToken

TOKENS = st.integers(0, 10_000_000)
PRICE = st.decimals(0, 1000, places=6)
DAY_MS = 24 * 3600 * 1000


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


def test_six_decimals_of_a_price_count() -> None:
    assert PerToken(Decimal("0.000001")).cost(Use(tokens_in=10**6)) == 1
    assert PerToken(Decimal("0.123457")).cost(Use(tokens_in=10**9)) == 123_457_000
    assert PerMinute(Decimal("0.004501")).cost(Use(audio_ms=60_000)) == 4501


def test_seconds_are_charged_as_measured_and_free_by_default() -> None:
    assert PerSecond(Decimal("0.0001")).cost(Use(seconds=1.5)) == 150
    assert PerSecond(Decimal("0.0001")).cost(Use(seconds=0.00001)) == 1
    assert PerSecond(Decimal("0.0001")).most(1000) == 200
    assert PerSecond(Decimal(0)).most(10**6) == PerSecond(Decimal(0)).cost(Use(seconds=9)) == 0


def test_the_hold_of_a_local_speech_model_is_for_one_as_slow_as_the_sound() -> None:
    assert PerSecond(Decimal("0.0001")).most(audio_ms=10_000) == 1100


def test_sound_is_charged_by_the_millisecond() -> None:
    whisper = PerMinute(Decimal("0.006"))
    assert whisper.cost(Use(audio_ms=60_000)) == 6000
    assert whisper.cost(Use(audio_ms=90_500)) == 9050
    assert whisper.cost(Use(audio_ms=0)) == 0


@given(PRICE.filter(bool))
def test_a_millisecond_of_sound_is_never_free(price: Decimal) -> None:
    assert PerMinute(price).cost(Use(audio_ms=1)) >= 1


@given(st.lists(st.integers(0, DAY_MS), min_size=2, max_size=2).map(sorted), PRICE)
def test_a_hold_covers_sound_even_if_its_last_second_is_billed_in_full(audio_ms: list[int], price: Decimal) -> None:
    tariff = PerMinute(price)
    full_seconds = -(-audio_ms[0] // 1000) * 1000
    assert tariff.cost(Use(audio_ms=audio_ms[0])) <= tariff.cost(Use(audio_ms=full_seconds))
    assert tariff.cost(Use(audio_ms=full_seconds)) <= tariff.most(audio_ms=audio_ms[1])


@given(st.integers(0, DAY_MS), PRICE)
def test_sound_is_rounded_up_by_less_than_a_micro_dollar(audio_ms: int, price: Decimal) -> None:
    exact = audio_ms * price * 1_000_000  # of sixty thousandths of a micro-dollar
    charged = PerMinute(price).cost(Use(audio_ms=audio_ms)) * 60_000
    assert 0 <= charged - exact < 60_000
