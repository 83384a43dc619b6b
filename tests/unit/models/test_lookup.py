from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from millrace.clock import ManualClock
from millrace.errors import ConfigurationError
from millrace.models.lookup import Provider, audio_tariff, token_tariff
from millrace.models.port import Tariff, Use

MILLION = 10**6
OLLAMA = "http://127.0.0.1:11434/v1"


def by_token(
    model: str = "gpt-4o-mini",
    *,
    base_url: str | None = None,
    dollars: tuple[str | None, str | None] = (None, None),
    file: Path | None = None,
    writes: bool = True,
    provider: Provider = "openai",
) -> Tariff:
    dollars_in, dollars_out = (None if text is None else Decimal(text) for text in dollars)
    return token_tariff(
        model=model,
        base_url=base_url,
        dollars_in=dollars_in,
        dollars_out=dollars_out,
        file=file,
        setting="MILLRACE_X",
        clock=ManualClock(datetime(2026, 3, 1, tzinfo=UTC)),
        writes=writes,
        provider=provider,
    )


def by_minute(
    model: str = "whisper-1", *, base_url: str | None = None, dollars: str | None = None, file: Path | None = None
) -> Tariff:
    minute = None if dollars is None else Decimal(dollars)
    return audio_tariff(model=model, base_url=base_url, dollars_minute=minute, file=file, setting="MILLRACE_X")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(
        """
        price = [
            { model = "gpt-4o-mini", tokens_in = "7", tokens_out = "8" },
            { model = "whisper-1", audio_minute = "0.009" },
            { model = "llama", host = "127.0.0.1:11434", tokens_in = "0", tokens_out = "0" },
            { model = "half", tokens_in = "1" },
        ]
        """
    )
    return path


def test_a_setting_goes_before_the_persons_file_and_that_before_what_is_published(file: Path) -> None:
    use = Use(MILLION, MILLION)
    assert by_token(dollars=("1", "2"), file=file).cost(use) == 3 * MILLION
    assert by_token(file=file).cost(use) == 15 * MILLION
    assert by_token().cost(use) == 750_000


def test_a_setting_goes_before_the_persons_file_and_that_before_the_packaged_one(file: Path) -> None:
    minute = Use(audio_ms=60_000)
    assert by_minute(dollars="0.001", file=file).cost(minute) == 1000
    assert by_minute(file=file).cost(minute) == 9000
    assert by_minute().cost(minute) == 6000
    assert by_minute("gpt-4o-mini-transcribe", file=file).cost(minute) == 3000


@pytest.mark.parametrize("base_url", [None, "https://api.openai.com/v1", "https://API.openai.com/v1/"])
def test_openai_has_its_price_under_its_url_too(base_url: str | None) -> None:
    assert by_minute(base_url=base_url).cost(Use(audio_ms=60_000)) == 6000


def test_nothing_is_a_price_when_somebody_wrote_it_down(file: Path) -> None:
    assert by_token(dollars=("0", "0")).most(10**9, 10**9) == 0
    assert by_token("llama", base_url=OLLAMA, file=file).most(10**9, 10**9) == 0
    assert by_minute(dollars="0").most(audio_ms=10**9) == 0


@pytest.mark.parametrize(("model", "base_url"), [("nobodys-model", None), ("gpt-4o-mini", OLLAMA), ("llama", None)])
def test_a_model_without_a_price_is_refused_and_the_error_says_what_to_do(
    file: Path, model: str, base_url: str | None
) -> None:
    says = r"no price of the model .* set MILLRACE_X .* MILLRACE_PRICES"
    with pytest.raises(ConfigurationError, match=says):
        by_token(model, base_url=base_url, file=file if model == "llama" else None)
    with pytest.raises(ConfigurationError, match=says):
        by_minute(model, base_url=base_url)


@pytest.mark.parametrize("model", ["whisper-1", "gpt-live-1", "tts-1"])
def test_a_model_that_is_published_without_a_price_of_tokens_is_refused(model: str) -> None:
    with pytest.raises(ConfigurationError, match="no price of the model"):
        by_token(model, writes=False)


def test_a_free_variant_that_is_published_at_nothing_is_refused_until_somebody_says_so() -> None:
    model, url = "openai/gpt-oss-20b:free", "https://openrouter.ai/api/v1"
    with pytest.raises(ConfigurationError, match="no price of the model"):
        by_token(model, base_url=url)
    assert by_token(model, base_url=url, dollars=("0", "0")).most(MILLION, MILLION) == 0


def test_an_embedding_model_needs_no_price_of_tokens_written_and_a_language_model_does() -> None:
    assert by_token("text-embedding-3-small", writes=False).most(MILLION) == 20_000
    with pytest.raises(ConfigurationError, match="no price of the model"):
        by_token("text-embedding-3-small", writes=True)


def test_half_a_price_is_refused(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"MILLRACE_X: .* both need a price"):
        by_token(dollars=("1", None))
    with pytest.raises(ConfigurationError, match=r"MILLRACE_X: .* both need a price"):
        by_token(dollars=(None, "1"))
    with pytest.raises(ConfigurationError, match=r"the file's price of 'half': .* both need a price"):
        by_token("half", file=file)
    assert by_token("half", file=file, writes=False).most(MILLION) == MILLION


def test_a_wrong_file_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("price = 1")
    with pytest.raises(ConfigurationError, match="not valid"):
        by_token(file=tmp_path / "prices.toml")


def test_anthropics_own_api_writes_to_no_cache_and_who_stands_before_it_may() -> None:
    def million(base_url: str | None) -> int:
        return by_token("claude-haiku-4-5", base_url=base_url, provider="anthropic").cost(Use(MILLION))

    assert million(None) == MILLION
    assert million("https://api.anthropic.com") == 1.25 * MILLION


def test_without_a_base_url_the_providers_own_prices_hold() -> None:
    with pytest.raises(ConfigurationError):
        by_token("claude-haiku-4-5")
    with pytest.raises(ConfigurationError):
        by_token("gpt-4o-mini", provider="anthropic")
