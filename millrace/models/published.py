"""Prices that providers publish, from the package genai-prices: no look-up over the network.

A model is looked up once, when the service starts. What a call costs is worked out from what was found then, so that
nothing can be missing once a call has been paid for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, TieredPrices, TimeOfDateConstraint

from millrace.clock import Clock
from millrace.models.port import Use
from millrace.money import MicroUSD, micro_usd

_ZERO = Decimal(0)
_MILLION = Decimal(1_000_000)
_LONGEST_CALL = timedelta(days=1)
_ALWAYS = -1

Tiers = tuple[tuple[int, Decimal], ...]
"""US dollars a million tokens by the size of the prompt: each for prompts of more than so many tokens."""


@dataclass(frozen=True)
class Rates:
    """What tokens read and written cost at one time, and US dollars a request."""

    read: Tiers
    written: Tiers
    request: Decimal

    @classmethod
    def of(cls, price: ModelPrice, *, caches: bool = True) -> Rates:
        """From the package's form.

        Where a provider bills some tokens dearer (those it writes to its cache, those a model thinks in) all count as
        such: which they are, not every server says.

        :param caches: whether the provider may write to its cache without having been asked to.
        """
        return cls(
            read=_tiers(price.input_mtok, price.cache_write_mtok if caches else None),
            written=_tiers(price.output_mtok, price.output_reasoning_mtok),
            request=max((dollars for _, dollars in _tiers(price.requests_kcount)), default=_ZERO) / 1000,
        )

    def known(self, *, writes: bool) -> bool:
        """Whether every token has a price: where the published one is 0, the model is billed in another way."""
        needed = (self.read, self.written) if writes else (self.read,)
        return all(tiers and all(dollars > 0 for _, dollars in tiers) for tiers in needed)

    def most(self, tokens_in: int, tokens_out: int) -> MicroUSD:
        """Price of so many tokens or fewer: a smaller prompt may be in a dearer tier."""
        read = max(_reached(self.read, tokens_in), default=_ZERO)
        written = max(_reached(self.written, tokens_in), default=_ZERO)
        return self._price(tokens_in * read + tokens_out * written)

    def cost(self, use: Use) -> MicroUSD:
        """Price of the tokens used."""
        read, written = (_reached(tiers, use.tokens_in) or [_ZERO] for tiers in (self.read, self.written))
        return self._price(use.tokens_in * read[-1] + use.tokens_out * written[-1])

    def _price(self, dollars_of_tokens: Decimal) -> MicroUSD:
        return micro_usd(dollars_of_tokens / _MILLION + self.request)


def find_model(model: str, base_url: str | None, provider: str = "openai") -> ModelInfo:
    """A model that a provider publishes; `base_url` None for the provider itself.

    :raises LookupError: nobody publishes it there.
    """
    _, found = get_snapshot().find_provider_model(model, None, provider if base_url is None else None, base_url)
    return found


class Published:
    """Published prices of one model, those of peak hours and of coming dates included; implements `Tariff`.

    :param writes: whether its calls are charged for what it writes.
    :param caches: as in `Rates.of`.
    :raises LookupError: its published price is 0, or none.
    """

    def __init__(self, model: ModelInfo, *, writes: bool, clock: Clock, caches: bool = True) -> None:
        self._model = model
        self._writes = writes
        self._clock = clock
        self._caches = caches
        self._first = Rates.of(self._model.get_prices(clock.now()), caches=caches)
        if not self._first.known(writes=writes):
            raise LookupError(f"the published price of {model.id!r} is 0")

    def most(self, tokens_in: int = 0, tokens_out: int = 0, *, audio_ms: int = 0) -> MicroUSD:  # noqa: ARG002 - port
        """Price of so many tokens, none of them cached, at the dearest price of the coming day."""
        moments = _changes(self._model, self._clock.now())
        return max(self._rates(moment).most(tokens_in, tokens_out) for moment in moments)

    def cost(self, use: Use) -> MicroUSD:
        """Price of the tokens used, at the present price."""
        return self._rates(self._clock.now()).cost(use)

    def _rates(self, moment: datetime) -> Rates:
        # A price that ends without another must not make a call free that has been paid for.
        rates = Rates.of(self._model.get_prices(moment), caches=self._caches)
        return rates if rates.known(writes=self._writes) else self._first


def _tiers(price: Decimal | TieredPrices | None, dearer: Decimal | TieredPrices | None = None) -> Tiers:
    """The dearer of two prices for every size of prompt; nothing where there is no price."""
    if price is None:
        return ()
    kinds = [price] if dearer is None else [price, dearer]
    starts = {tier.start for kind in kinds if isinstance(kind, TieredPrices) for tier in kind.tiers}
    return tuple((start, max(_beyond(kind, start) for kind in kinds)) for start in sorted(starts | {_ALWAYS}))


def _beyond(price: Decimal | TieredPrices, start: int) -> Decimal:
    if isinstance(price, Decimal):
        return price
    return next((tier.price for tier in reversed(price.tiers) if tier.start <= start), price.base)


def _reached(tiers: Tiers, tokens_in: int) -> list[Decimal]:
    return [dollars for start, dollars in tiers if start < tokens_in]


def _changes(model: ModelInfo, since: datetime) -> Iterator[datetime]:
    """`since`, and the moments within a day of it at which another price may begin."""
    yield since
    if isinstance(model.prices, ModelPrice):
        return
    hours = {time(tzinfo=UTC)}  # dates begin at midnight
    for price in model.prices:
        if isinstance(at := price.constraint, TimeOfDateConstraint):
            hours |= {at.start_time, at.end_time}
    for days in range(-1, 3):  # more than a day on both sides: an hour may be one of another time zone
        for hour in hours:
            moment = datetime.combine(since.date() + timedelta(days), hour, hour.tzinfo or UTC)
            if since < moment <= since + _LONGEST_CALL:
                yield moment
