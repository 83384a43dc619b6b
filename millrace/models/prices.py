"""Files of prices, the packaged one and a person's own. Pure but for reading them."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from millrace.errors import ConfigurationError

PACKAGED: Final = Path(__file__).parent / "prices.toml"

Unit = Literal["tokens_in", "tokens_out", "audio_minute"]
"""A million tokens read, a million tokens written, a minute of sound."""


def _dollars(value: object) -> Decimal:
    # A TOML float is not an amount of money.
    if not isinstance(value, str) or re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value, re.ASCII) is None:
        raise ValueError('a price is US dollars in a string, with up to six decimals: "0.006"')
    return Decimal(value)


Dollars = Annotated[Decimal, BeforeValidator(_dollars)]


class Price(BaseModel):
    """What one model costs, in US dollars a unit; at a provider's host, or wherever it is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    host: str | None = Field(default=None, pattern=r"^[^/\s]+$")
    tokens_in: Dollars | None = None
    tokens_out: Dollars | None = None
    audio_minute: Dollars | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.tokens_in is None and self.audio_minute is None:
            raise ValueError("tokens_in or audio_minute is missing")
        return self

    def fits(self, model: str, host: str) -> bool:
        """Whether it is the price of this model there."""
        return self.model == model and (self.host is None or self.host.lower() == host)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    price: list[Price] = []

    @model_validator(mode="after")
    def _no_price_twice(self) -> Self:
        names = Counter((price.model, (price.host or "").lower()) for price in self.price)
        if twice := sorted({model for (model, _), times in names.items() if times > 1}):
            raise ValueError(f"there are two prices of {', '.join(twice)}")
        return self


def load(path: Path) -> list[Price]:
    """The prices of a file.

    :raises ConfigurationError: it cannot be read, or says something that is not a price.
    """
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).price
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigurationError(f"The prices file {path} cannot be read: {exc}") from exc
    except ValidationError as exc:
        where = "; ".join(f"{'.'.join(map(str, error['loc'])) or 'file'}: {error['msg']}" for error in exc.errors())
        raise ConfigurationError(f"The prices file {path} is not valid: {where}") from exc


def find(prices: Sequence[Price], unit: Unit, *, model: str, host: str) -> Price | None:
    """The price by this unit: the one for this host, otherwise the one for all."""
    found = [price for price in prices if price.fits(model, host) and getattr(price, unit) is not None]
    return min(found, key=lambda price: price.host is None, default=None)
