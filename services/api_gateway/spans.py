"""The windows of analytics: whole hours or days in UTC, the present one included. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from millrace.contracts.analytics_api import Bucket, WindowName

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_LENGTHS: Final[dict[Bucket, timedelta]] = {"hour": _HOUR, "day": _DAY}
_WINDOWS: Final[dict[WindowName, tuple[Bucket, int]]] = {
    "1h": ("hour", 1),
    "24h": ("hour", 24),
    "7d": ("day", 7),
    "30d": ("day", 30),
}


@dataclass(frozen=True)
class Span:
    """A window: `since` is in it, `until` is not; both are boundaries of its buckets."""

    window: WindowName
    bucket: Bucket
    since: datetime
    until: datetime

    def starts(self) -> list[datetime]:
        """Start of each bucket, in order."""
        length = _LENGTHS[self.bucket]
        return [self.since + number * length for number in range((self.until - self.since) // length)]


def span_of(window: WindowName, now: datetime) -> Span:
    """The whole buckets that a window is at a moment: money belongs to the ledger's hours and days, never to a part.

    `1h` is the hour that `now` lies in, `24h` that one and the 23 before it, `7d` and `30d` today and the days
    before: a window is as long as its name says once its last bucket has ended.
    """
    bucket, count = _WINDOWS[window]
    start = start_of(bucket, now)
    length = _LENGTHS[bucket]
    return Span(window, bucket, start - (count - 1) * length, start + length)


def start_of(bucket: Bucket, moment: datetime) -> datetime:
    """Start of the hour or day that a moment in UTC lies in."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if bucket == "hour" else hour.replace(hour=0)


def percentages(amounts: Sequence[int]) -> list[int]:
    """Whole percentages that add up to 100 by the largest remainder; all 0 when the amounts are.

    Of equal remainders the first amount's is rounded up.

    >>> percentages([1, 1, 1])
    [34, 33, 33]
    """
    parts = [max(0, amount) for amount in amounts]
    total = sum(parts)
    if total == 0:
        return [0] * len(parts)
    whole = [100 * part // total for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda at: -(100 * parts[at] % total))
    for at in by_remainder[: 100 - sum(whole)]:
        whole[at] += 1
    return whole
