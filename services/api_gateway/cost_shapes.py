"""Costs as the ledger's entries come to by hour or day, stage and model: sums, groups, series. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from millrace.contracts.analytics_api import CostBucket, CostGroup, CostSums, GroupBy, Units
from millrace.money import MicroUSD
from services.api_gateway.spans import Span, percentages, start_of

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Cell:
    """Entries of one stage and model in one hour or day; amounts in micro-US-dollars."""

    stage: str
    model: str | None
    start: datetime
    settled: int = 0
    held: int = 0
    unconfirmed: int = 0
    overrun: int = 0
    calls: int = 0

    @property
    def used(self) -> int:
        """What counts against caps; overrun is settled, too."""
        return self.settled + self.held + self.unconfirmed


@dataclass(frozen=True)
class UnitsOf:
    """What the works of a stage came to that one model did, by an API or on this machine."""

    stage: str
    model: str | None
    backend: str | None
    tokens: int | None
    audio_ms: int | None


def sums(cells: Iterable[Cell]) -> CostSums:
    """All of them together."""
    settled = held = unconfirmed = overrun = calls = 0
    for cell in cells:
        settled += cell.settled
        held += cell.held
        unconfirmed += cell.unconfirmed
        overrun += cell.overrun
        calls += cell.calls
    return CostSums(
        settled_micro_usd=MicroUSD(settled),
        held_micro_usd=MicroUSD(held),
        unconfirmed_micro_usd=MicroUSD(unconfirmed),
        overrun_micro_usd=MicroUSD(overrun),
        calls=calls,
    )


def total(found: Sequence[UnitsOf]) -> Units:
    """All of them together."""
    tokens = [one.tokens for one in found if one.tokens is not None]
    audio = [one.audio_ms for one in found if one.audio_ms is not None]
    return Units(tokens=sum(tokens) if tokens else None, audio_ms=sum(audio) if audio else None)


def groups(cells: Sequence[Cell], group_by: GroupBy) -> list[CostGroup]:
    """One group a stage or model, the dearest first, or one a bucket with entries, in order."""
    found = _gathered(cells, _KEYS[group_by])
    by_time = group_by in ("hour", "day")
    order = sorted(found, key=lambda key: key or "" if by_time else (-_used(found[key]), key or ""))
    percent = percentages([_used(found[key]) for key in order])
    return [
        CostGroup(key=key, percent=part, **dict(sums(found[key]))) for key, part in zip(order, percent, strict=True)
    ]


def series(cells: Sequence[Cell], span: Span) -> list[CostBucket]:
    """One bucket after the other, also those without entries."""
    found = _gathered(cells, lambda cell: start_of(span.bucket, cell.start))
    return [CostBucket(start=start, **dict(sums(found.get(start, ())))) for start in span.starts()]


def _gathered(cells: Iterable[Cell], key: Callable[[Cell], K]) -> dict[K, list[Cell]]:
    found: dict[K, list[Cell]] = {}
    for cell in cells:
        found.setdefault(key(cell), []).append(cell)
    return found


def _used(cells: Iterable[Cell]) -> int:
    return sum(cell.used for cell in cells)


_KEYS: dict[GroupBy, Callable[[Cell], str | None]] = {
    "hour": lambda cell: start_of("hour", cell.start).isoformat(),
    "day": lambda cell: start_of("day", cell.start).isoformat(),
    "model": lambda cell: cell.model,
    "stage": lambda cell: cell.stage,
}
