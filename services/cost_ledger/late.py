"""Rows that a former owner wrote over those of the present one. Pure.

Faust's tables have no fencing: a worker that was paused for longer than its session writes on when it wakes up, and
its rows come to lie behind newer ones. The owner reads what is written to its partitions and finds rows that stay
older than its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from millrace.contracts.events import Window

GRACE: Final = timedelta(seconds=5)
"""How long the newest row that was read may be older than the table's: a write is on its way for a moment."""


class Place(NamedTuple):
    """Where a row lies: `window` and `key` as in the tables."""

    topic: str
    partition: int
    window: Window
    key: str


class _Newest(NamedTuple):
    as_of: int
    since: datetime


@dataclass
class LateRows:
    """The newest row that was read of each place, as long as it is not what the table holds."""

    _newest: dict[Place, _Newest] = field(default_factory=dict)

    def note(self, place: Place, as_of: int, now: datetime) -> None:
        """A row was read: the last one so far."""
        self._newest[place] = _Newest(as_of, now)

    def overwritten(self, current: Callable[[Place], int | None], now: datetime) -> dict[int, dict[Window, set[str]]]:
        """Keys by partition and window whose last row has been older than the table's for too long.

        Each is told again after another while, until its newer row has been read.

        :param current: offset of the decision that the table's row of a place has seen last; None: no row.
        """
        found: dict[int, dict[Window, set[str]]] = {}
        for place, newest in list(self._newest.items()):
            as_of = current(place)
            if as_of is None or as_of <= newest.as_of:
                del self._newest[place]
            elif now - newest.since >= GRACE:
                self._newest[place] = newest._replace(since=now)
                found.setdefault(place.partition, {}).setdefault(place.window, set()).add(place.key)
        return found

    def forget(self) -> None:
        """Partitions move."""
        self._newest.clear()
