"""Texts of many shares in one call: when they go, and who pays how much of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from millrace.ids import WorkKey
from millrace.money import MicroUSD

_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
NOW: Final = timedelta(0)
CROWD: Final = 10
"""Works of an account in a minute, beyond which short ones wait for others, too."""


@dataclass(frozen=True)
class OffPeak:
    """A time of every day, in UTC; over midnight where it ends before it begins."""

    begins: time
    ends: time

    @staticmethod
    def read(written: str) -> OffPeak:
        """A window as people write it: `22:00-06:00`.

        :raises ValueError: it is none.
        """
        found = _WINDOW.fullmatch(written)
        if found is None or found[0][:5] == found[0][6:]:
            raise ValueError("a window is two different times of the day in UTC, such as 22:00-06:00")
        hours = [int(number) for number in found.groups()]
        return OffPeak(time(hours[0], hours[1]), time(hours[2], hours[3]))

    def opens_in(self, now: datetime) -> timedelta:
        """How long until it is open; nothing while it is. `now` is in UTC."""
        clock = now.time()
        if self.begins < self.ends:
            is_open = self.begins <= clock < self.ends
        else:
            is_open = clock >= self.begins or clock < self.ends
        if is_open:
            return NOW
        begins = now.replace(hour=self.begins.hour, minute=self.begins.minute, second=0, microsecond=0)
        return (begins if begins > now else begins + timedelta(days=1)) - now


@dataclass(frozen=True)
class Times:
    """From now on: not before, and at the latest, which is later where so many others have just come."""

    opens: timedelta
    latest: timedelta
    in_a_crowd: timedelta


@dataclass(frozen=True)
class Patience:
    """How long texts wait for others.

    :param short: shares of at most so many tokens go at once, unless a replay asks for them or many come at once.
    :param off_peak: what a replay asks for waits for this window.
    """

    wait: timedelta
    short: int = 0
    off_peak: OffPeak | None = None

    def times(self, tokens: int, now: datetime, *, in_bulk: bool) -> Times:
        """When the texts of a share go, which have so many tokens in all."""
        if in_bulk:
            opens = NOW if self.off_peak is None else self.off_peak.opens_in(now)
            return Times(opens, opens + self.wait, opens + self.wait)
        return Times(NOW, NOW if tokens <= self.short else self.wait, self.wait)


AT_ONCE: Final = Patience(NOW)
"""Nothing waits; what waits already is taken along."""


@dataclass(frozen=True)
class PendingText:
    """A text that a piece of work wants embedded."""

    work_key: WorkKey
    share_id: str
    content_hash: str
    text: str
    tokens: int


class Part(BaseModel):
    """What a piece of work has in a call: tokens, and micro-US-dollars."""

    model_config = ConfigDict(frozen=True)

    work_key: WorkKey
    share_id: str
    tokens: int
    cost_micro_usd: MicroUSD


def divided(total: int, weights: Sequence[int]) -> list[int]:
    """Whole parts of a total, as near to their weights as whole parts come; they add up to it (largest remainders).

    >>> divided(10, [1, 1, 1])
    [4, 3, 3]
    """
    whole = sum(weights) or 1
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: -(total * weights[at] % whole))
    for at in by_remainder[: total - sum(parts)]:
        parts[at] += 1
    return parts


def parts_of(texts: Sequence[PendingText], tokens: int, cost: MicroUSD) -> list[Part]:
    """Who pays how much of a call that had these texts, tokens and cost as the provider counts: each by its own
    tokens as we count them.
    """
    weights: dict[tuple[WorkKey, str], int] = {}
    for text in texts:
        who = (text.work_key, text.share_id)
        weights[who] = weights.get(who, 0) + max(1, text.tokens)
    shares = zip(weights, divided(tokens, [*weights.values()]), divided(cost, [*weights.values()]), strict=True)
    return [
        Part(work_key=work_key, share_id=share_id, tokens=part, cost_micro_usd=MicroUSD(paid))
        for (work_key, share_id), part, paid in shares
    ]
