"""Whether something that should move stands still. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple


class _Standing(NamedTuple):
    position: int
    since: datetime


@dataclass
class Progress:
    """Positions of partitions, looked at now and then; being behind is no fault, standing still while behind is."""

    limit: timedelta
    _standing: dict[int, _Standing] = field(default_factory=dict)

    def note(self, partition: int, position: int, end: int, now: datetime) -> None:
        """A partition is at `position` and there is work up to before `end`."""
        standing = self._standing.get(partition)
        if position >= end:
            self._standing.pop(partition, None)
        elif standing is None or standing.position != position:
            self._standing[partition] = _Standing(position, now)

    def forget(self, partition: int | None = None) -> None:
        """A partition moves, or all of them do."""
        if partition is None:
            self._standing.clear()
        else:
            self._standing.pop(partition, None)

    def stalled(self, now: datetime) -> tuple[int, datetime] | None:
        """A partition that stands still for longer than the limit, and since when."""
        for partition, standing in sorted(self._standing.items()):
            if now - standing.since > self.limit:
                return partition, standing.since
        return None
