"""What models cost: by the second for those of this machine, by the token for those behind an API."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from genai_prices import Usage, calc_price

from millrace.errors import ConfigurationError
from millrace.models.port import Tariff, Use
from millrace.money import MicroUSD, cost_of, micro_usd

_MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class PerSecond:
    """A local model: US dollars a second of its work, 0 by default. Prices a GPU or the machine.

    `tokens_per_second` and `least_seconds` bound how long a call may take; they only size the hold, the charge is
    for the time that was measured.
    """

    dollars: Decimal
    tokens_per_second: int = 1000
    least_seconds: int = 1

    def most(self, tokens_in: int, tokens_out: int = 0) -> MicroUSD:
        """Price of the longest that such a call is expected to take."""
        seconds = Decimal(self.least_seconds) + Decimal(tokens_in + tokens_out) / self.tokens_per_second
        return cost_of(seconds, self.dollars)

    def cost(self, use: Use) -> MicroUSD:
        """Price of the seconds it took."""
        return cost_of(Decimal(str(use.seconds)), self.dollars)


@dataclass(frozen=True)
class PerToken:
    """Configured prices: US dollars a million tokens read, and written."""

    dollars_in: Decimal
    dollars_out: Decimal = Decimal(0)

    def most(self, tokens_in: int, tokens_out: int = 0) -> MicroUSD:
        """Price of so many tokens."""
        return self.cost(Use(tokens_in, tokens_out))

    def cost(self, use: Use) -> MicroUSD:
        """Price of the tokens used; in and out are rounded up together."""
        return micro_usd((use.tokens_in * self.dollars_in + use.tokens_out * self.dollars_out) / _MILLION)


@dataclass(frozen=True)
class Published:
    """A provider's published prices, from the package genai-prices: no look-up over the network."""

    model: str
    base_url: str | None

    def most(self, tokens_in: int, tokens_out: int = 0) -> MicroUSD:
        """Price of so many tokens, none of them cached."""
        return self.cost(Use(tokens_in, tokens_out))

    def cost(self, use: Use) -> MicroUSD:
        """Price of the tokens used.

        :raises LookupError: no price of this model is published.
        """
        usage = Usage(input_tokens=use.tokens_in, output_tokens=use.tokens_out)
        if self.base_url is None:
            price = calc_price(usage, self.model, provider_id="openai")
        else:
            price = calc_price(usage, self.model, provider_api_url=self.base_url)
        return micro_usd(price.total_price)


def api_tariff(
    *, model: str, base_url: str | None, dollars_in: Decimal | None, dollars_out: Decimal | None, setting: str
) -> Tariff:
    """Tariff of a model behind an API: the configured price, otherwise the published one.

    :param base_url: None for OpenAI itself.
    :param setting: name of the settings that would hold the price, for the error.
    :raises ConfigurationError: nobody knows the price: without one no call could be granted.
    """
    if dollars_in is not None:
        return PerToken(dollars_in, dollars_out or Decimal(0))
    published = Published(model, base_url)
    try:
        published.most(1, 1)
    except LookupError as exc:
        raise ConfigurationError(
            f"no price of the model {model!r} is known: "
            f"set {setting} (US dollars a million tokens, 0 when it is free)"
        ) from exc
    return published
