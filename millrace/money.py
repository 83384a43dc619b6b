"""Money: whole micro-US-dollars, always rounded up so that the ledger never under-counts."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import NewType

MicroUSD = NewType("MicroUSD", int)
"""One millionth of a US dollar, as an integer (`long` in Avro, `bigint` in PostgreSQL)."""

ZERO = MicroUSD(0)
_MICRO = Decimal(1_000_000)


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
