"""Whether a partition's work moves on, whatever the heartbeats say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from millrace.kafka.records import Partition

STANDSTILL: Final = timedelta(seconds=60)
"""As long as a takeover may last: a rebalance and a commit every second are well within it."""


@dataclass(frozen=True)
class Standing:
    """Offsets of one partition: where its log ends, the next to take into the pool, the first that is not done, and
    where the group goes on after a restart.
    """

    end: int
    next: int
    undone: int
    committed: int


@dataclass(frozen=True)
class _Still:
    at: int
    since: datetime


class Liveness:
    """Remembers since when each partition stands still."""

    def __init__(self) -> None:
        self._uncommitted: dict[Partition, _Still] = {}
        self._untaken: dict[Partition, _Still] = {}

    def look(self, now: datetime, standings: Mapping[Partition, Standing], *, has_room: bool) -> None:
        """Compare with the last look.

        :param has_room: the pool would take more; a full one is busy, which is another matter.
        """
        self._uncommitted = {
            at: _still(self._uncommitted.get(at), one.committed, now)
            for at, one in standings.items()
            if one.committed < one.undone
        }
        self._untaken = {
            at: _still(self._untaken.get(at), one.next, now)
            for at, one in standings.items()
            if one.next < one.end and has_room
        }

    def standstill(self, now: datetime) -> str | None:
        """What has been standing still for too long, in words, or None."""
        for still, what in (
            (self._uncommitted, "done jobs have not been committed"),
            (self._untaken, "records have not been taken"),
        ):
            for at, since in still.items():
                if now - since.since > STANDSTILL:
                    return f"{at.topic}-{at.partition}: {what} since {since.since:%H:%M:%S} UTC (offset {since.at})"
        return None


def _still(before: _Still | None, at: int, now: datetime) -> _Still:
    return before if before is not None and before.at == at else _Still(at, now)
