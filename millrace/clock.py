"""Time, passed in: nothing below a composition root reads the clock of the machine. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class Clock(Protocol):
    """Says what time it is."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock for tests that moves by hand."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The moment it was last set to."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move forward."""
        self._now += by


def millis(moment: datetime) -> int:
    """Milliseconds since the epoch, as Avro's timestamp-millis counts them (truncated)."""
    return (moment - _EPOCH) // _MILLISECOND


def from_millis(value: int) -> datetime:
    """The moment, in UTC, of milliseconds since the epoch."""
    return _EPOCH + timedelta(milliseconds=value)
