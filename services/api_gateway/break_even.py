"""When a GPU of one's own is cheaper than a speech API. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Final, Literal

from millrace.contracts.analytics_api import BreakEvenAnswer
from millrace.money import MicroUSD
from services.api_gateway.cost_shapes import Cell, UnitsOf
from services.api_gateway.spans import Span

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True)
class Gpu:
    """A GPU: micro-US-dollars an hour, and how many seconds it works for a second of sound."""

    micro_usd_per_hour: MicroUSD
    realtime_factor: Decimal


def by_api(costs: Sequence[Cell], done: Sequence[UnitsOf]) -> tuple[MicroUSD, int]:
    """What was settled for speech by an API, and the milliseconds of sound that it billed.

    A model whose finished works all ran on this machine is not an API's; others may be.
    """
    local = {one.model for one in done if one.backend == "local"}
    remote = {one.model for one in done if one.backend == "api"}
    paid = sum(cell.settled for cell in costs if cell.model in remote or cell.model not in local)
    return MicroUSD(paid), sum(one.audio_ms or 0 for one in done if one.backend == "api")


def break_even(span: Span, *, paid: MicroUSD, audio_ms: int, listed_per_hour: MicroUSD, gpu: Gpu) -> BreakEvenAnswer:
    """One window's sound by the API and by one GPU.

        price         = paid / audio hours, where something was paid for; else the list price
        gpu_busy      = audio * realtime_factor,            cost gpu_usd_per_hour * gpu_busy
        gpu_rented    = gpu_usd_per_hour * window
        break_even    = gpu_rented / price                  (audio), if it * realtime_factor fits into the window

    `cheaper` compares the API's price of the window's sound with the rented GPU. Amounts are rounded up to the
    micro-dollar, as everywhere.

    :param paid: for `audio_ms` of sound, micro-US-dollars.
    :param listed_per_hour: the API's list price an hour of sound.
    """
    known = paid > 0 and audio_ms > 0
    price = Decimal(paid) * _HOUR_MS / audio_ms if known else Decimal(listed_per_hour)
    window_ms = (span.until - span.since) // timedelta(milliseconds=1)
    busy_ms = _up(Decimal(audio_ms) * gpu.realtime_factor)
    rented = _up(Decimal(gpu.micro_usd_per_hour) * window_ms / _HOUR_MS)
    even_ms = _up(Decimal(rented) * _HOUR_MS / price) if price > 0 else None
    fits = even_ms is not None and Decimal(even_ms) * gpu.realtime_factor <= window_ms
    return BreakEvenAnswer(
        window=span.window,
        since=span.since,
        until=span.until,
        audio_ms=audio_ms,
        api_micro_usd=paid,
        api_micro_usd_per_audio_hour=_up(price),
        price_from="paid" if known else "list",
        gpu_micro_usd_per_hour=gpu.micro_usd_per_hour,
        realtime_factor=str(gpu.realtime_factor),
        gpu_busy_ms=busy_ms,
        gpu_busy_micro_usd=MicroUSD(_up(Decimal(gpu.micro_usd_per_hour) * busy_ms / _HOUR_MS)),
        gpu_rented_micro_usd=MicroUSD(rented),
        break_even_audio_ms=even_ms if fits else None,
        cheaper=_cheaper(paid, rented),
    )


def _cheaper(api: int, gpu: int) -> Literal["api", "gpu", "equal"]:
    if api == gpu:
        return "equal"
    return "api" if api < gpu else "gpu"


def _up(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_CEILING))
