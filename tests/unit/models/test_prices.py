from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from millrace.errors import ConfigurationError
from millrace.models.prices import PACKAGED, find, load

OPENAI = "api.openai.com"


def filed(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text)
    return path


def test_every_packaged_price_is_above_nothing_and_of_one_provider() -> None:
    prices = load(PACKAGED)
    assert {price.model for price in prices} >= {"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"}
    for price in prices:
        assert all(amount is None or amount > 0 for amount in (price.tokens_in, price.tokens_out, price.audio_minute))
        assert price.host is not None, "the same name elsewhere has another price"


def test_whisper_costs_six_thousandths_of_a_dollar_a_minute() -> None:
    price = find(load(PACKAGED), "audio_minute", model="whisper-1", host=OPENAI)
    assert price is not None
    assert price.audio_minute == Decimal("0.006")
    assert find(load(PACKAGED), "audio_minute", model="whisper-1", host="127.0.0.1:8000") is None


def test_the_price_of_a_host_goes_before_the_one_for_all(tmp_path: Path) -> None:
    prices = load(
        filed(
            tmp_path,
            """
            price = [
                { model = "m", tokens_in = "1" },
                { model = "m", tokens_in = "2", host = "GPU.example:8000" },
                { model = "m", audio_minute = "3", host = "other.example" },
            ]
            """,
        )
    )
    dollars = [
        price and price.tokens_in
        for price in (find(prices, "tokens_in", model="m", host=h) for h in ("gpu.example:8000", "other.example"))
    ]
    assert dollars == [2, 1]
    assert find(prices, "audio_minute", model="m", host="gpu.example:8000") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("price = [", "cannot be read"),
        ('[[price]]\nmodel = "m"\ntokens_in = 0.15', r"price\.0\.tokens_in: .* in a string"),
        ('[[price]]\nmodel = "m"\ntokens_in = "0.0000001"', "six decimals"),
        ('[[price]]\nmodel = "m"\ntokens_in = "-1"', "six decimals"),
        ('[[price]]\nmodel = "m"\ntokens_in = "inf"', "six decimals"),
        ('[[price]]\nmodel = "m"\ntokens_in = "٣"', "six decimals"),
        ('[[price]]\nmodel = "m"', "tokens_in or audio_minute is missing"),
        ('[[price]]\nmodel = "m"\ntokens_out = "1"', "tokens_in or audio_minute is missing"),
        ('[[price]]\ntokens_in = "1"', r"price\.0\.model: Field required"),
        ('[[price]]\nmodel = "m"\ntokens_in = "1"\ntoken_out = "1"', r"price\.0\.token_out: Extra inputs"),
        ('[[price]]\nmodel = "m"\ntokens_in = "1"\nhost = "https://a.example/v1"', r"price\.0\.host"),
        ('[[price]]\nmodel = "m"\ntokens_in = "1"\n' * 2, "two prices of m"),
        ('prices = "1"', "prices: Extra inputs"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load(filed(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")
