"""Money: whole micro-US-dollars, always rounded up so that the ledger never under-counts. Pure."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Final, NewType

MicroUSD = NewType("MicroUSD", int)
"""One millionth of a US dollar, as an integer (`long` in Avro, `bigint` in PostgreSQL)."""

ZERO = MicroUSD(0)
_MICRO = Decimal(1_000_000)

LARGEST: Final = MicroUSD(10_000_000_000_000)
"""Ten million dollars: the most that a person may write, and that the ledger takes in one request.

A bound against mistakes, so that sums stay far below a 64-bit overflow.
"""
_WRITTEN = re.compile(r"\$?([0-9]{1,12}(\.[0-9]{1,6})?)")


def micro_usd(dollars: Decimal | int | str) -> MicroUSD:
    """Dollars to micro-dollars, rounded up.

    Takes no float: `0.006` as a float is not six thousandths of a dollar.

    :raises ValueError: for a negative, infinite or unreadable amount.
    """
    try:
        amount = Decimal(dollars)
    except InvalidOperation as exc:
        raise ValueError(f"{dollars!r} is not an amount of US dollars") from exc
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{dollars!r} is not an amount of US dollars that can be spent")
    return MicroUSD(int((amount * _MICRO).to_integral_value(rounding=ROUND_CEILING)))


def written_usd(text: str) -> MicroUSD:
    """An amount as a person writes it: `5`, `$1.25`, `0.000042`.

    :raises ValueError: it is none, is finer than a micro-dollar, or is above ten million dollars.

    >>> written_usd("$1.25")
    1250000
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError("an amount is US dollars with at most six decimals, such as 2.50 or $0.000042")
    amount = micro_usd(found[1])
    if amount > LARGEST:
        raise ValueError("an amount is at most ten million dollars")
    return amount


def cost_of(units: Decimal | int, dollars_per_unit: Decimal) -> MicroUSD:
    """Price of `units` (minutes, tokens, GPU-seconds) of one call, rounded up to the micro-dollar.

    :raises ValueError: when units or price are negative.
    """
    if Decimal(units) < 0 or dollars_per_unit < 0:
        raise ValueError("units and prices cannot be negative")
    return micro_usd(Decimal(units) * dollars_per_unit)


def format_usd(amount: MicroUSD) -> str:
    """`$1.25`, `$0.000042`: at least two decimals, at most six, never rounded.

    >>> format_usd(MicroUSD(1_250_000))
    '$1.25'
    """
    sign = "-" if amount < 0 else ""
    whole, fraction = divmod(abs(amount), 1_000_000)
    digits = f"{fraction:06d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole}.{digits}"
