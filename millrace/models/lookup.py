"""Which price a model behind an API has.

In this order: what the settings say, the person's own file (MILLRACE_PRICES), the packaged file, and for tokens the
published prices. A price of 0 counts when somebody wrote it down; a published 0 is no price.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from millrace.clock import Clock
from millrace.errors import ConfigurationError
from millrace.models.port import Tariff
from millrace.models.prices import PACKAGED, Price, Unit, find, load
from millrace.models.published import Published, find_model
from millrace.models.tariffs import PerMinute, PerToken

Provider = Literal["openai", "anthropic"]
"""Who is asked when no base URL is set."""
_HOSTS: Final = {"openai": "api.openai.com", "anthropic": "api.anthropic.com"}


def token_tariff(
    *,
    model: str,
    base_url: str | None,
    dollars_in: Decimal | None,
    dollars_out: Decimal | None,
    file: Path | None,
    setting: str,
    clock: Clock,
    writes: bool = True,
    provider: Provider = "openai",
) -> Tariff:
    """Tariff of a model that is billed by the token.

    :param base_url: None for the provider itself.
    :param dollars_in: the settings' price of a million tokens read; None when they say none.
    :param dollars_out: that of a million tokens written.
    :param file: the person's own file of prices.
    :param setting: name of the settings that would hold the price, for the error.
    :param writes: False for embeddings, which have no price of tokens written.
    :param provider: whose API it is, where there is no base URL.
    :raises ConfigurationError: nobody knows the price, without which no call could be granted; or half of it.
    """
    if dollars_in is not None or dollars_out is not None:
        return _per_token(dollars_in, dollars_out, writes=writes, where=setting)
    if price := _filed(file, "tokens_in", model, base_url, provider):
        return _per_token(price.tokens_in, price.tokens_out, writes=writes, where=f"the file's price of {model!r}")
    try:
        # Anthropic writes to its cache only where a request says so, and ours do not; who stands between may add it.
        caches = provider != "anthropic" or base_url is not None
        return Published(find_model(model, base_url, provider), writes=writes, clock=clock, caches=caches)
    except LookupError as exc:
        raise ConfigurationError(_unknown(model, setting, "a million tokens")) from exc


def audio_tariff(
    *, model: str, base_url: str | None, dollars_minute: Decimal | None, file: Path | None, setting: str
) -> Tariff:
    """Tariff of a speech model that is billed by the minute.

    :param dollars_minute: the settings' price of a minute of sound; the others as for `token_tariff`.
    :raises ConfigurationError: nobody knows the price.
    """
    if dollars_minute is not None:
        return PerMinute(dollars_minute)
    price = _filed(file, "audio_minute", model, base_url, "openai")
    if price is None or price.audio_minute is None:
        raise ConfigurationError(_unknown(model, setting, "a minute of sound"))
    return PerMinute(price.audio_minute)


def _per_token(dollars_in: Decimal | None, dollars_out: Decimal | None, *, writes: bool, where: str) -> PerToken:
    if dollars_in is None or (writes and dollars_out is None):
        raise ConfigurationError(
            f"{where}: tokens read and tokens written both need a price (US dollars a million tokens, 0 when free)"
        )
    return PerToken(dollars_in, dollars_out or Decimal(0))


def _filed(file: Path | None, unit: Unit, model: str, base_url: str | None, provider: Provider) -> Price | None:
    host = _HOSTS[provider] if base_url is None else urlsplit(base_url).netloc.rpartition("@")[2].lower()
    own = find(load(file), unit, model=model, host=host) if file is not None else None
    return own or find(load(PACKAGED), unit, model=model, host=host)


def _unknown(model: str, setting: str, unit: str) -> str:
    return (
        f"no price of the model {model!r} is known: set {setting} (US dollars {unit}, 0 when it is free), "
        "or write it into a file that MILLRACE_PRICES names"
    )
