"""What models cost when their price is known: by the second of work, by the token, by the minute of sound."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from millrace.models.port import Use
from millrace.money import MicroUSD, cost_of, micro_usd

_MILLION = Decimal(1_000_000)
_MINUTE_MS = Decimal(60_000)


@dataclass(frozen=True)
class PerSecond:
    """A local model: US dollars a second of its work, 0 by default. Prices a GPU or the machine.

    The other fields bound how long a call may take, a model as slow as the sound it hears included; they only size
    the hold, the charge is for the time that was measured.
    """

    dollars: Decimal
    tokens_per_second: int = 1000
    least_seconds: int = 1

    def most(self, tokens_in: int = 0, tokens_out: int = 0, *, audio_ms: int = 0) -> MicroUSD:
        """Price of the longest that such a call is expected to take."""
        seconds = self.least_seconds + Decimal(tokens_in + tokens_out) / self.tokens_per_second
        return cost_of(seconds + Decimal(audio_ms) / 1000, self.dollars)

    def cost(self, use: Use) -> MicroUSD:
        """Price of the seconds it took."""
        return cost_of(Decimal(str(use.seconds)), self.dollars)


@dataclass(frozen=True)
class PerToken:
    """A known price: US dollars a million tokens read, and written."""

    dollars_in: Decimal
    dollars_out: Decimal = Decimal(0)

    def most(self, tokens_in: int = 0, tokens_out: int = 0, *, audio_ms: int = 0) -> MicroUSD:  # noqa: ARG002 - port
        """Price of so many tokens."""
        return self.cost(Use(tokens_in, tokens_out))

    def cost(self, use: Use) -> MicroUSD:
        """Price of the tokens used; in and out are rounded up together."""
        return micro_usd((use.tokens_in * self.dollars_in + use.tokens_out * self.dollars_out) / _MILLION)


@dataclass(frozen=True)
class PerMinute:
    """A known price of a speech model behind an API: US dollars a minute of sound."""

    dollars: Decimal

    def most(self, tokens_in: int = 0, tokens_out: int = 0, *, audio_ms: int = 0) -> MicroUSD:  # noqa: ARG002 - port
        """Price of the sound, its last second full: providers bill begun seconds."""
        return self.cost(Use(audio_ms=-(-audio_ms // 1000) * 1000))

    def cost(self, use: Use) -> MicroUSD:
        """Price of the sound that was billed."""
        return micro_usd(use.audio_ms * self.dollars / _MINUTE_MS)
