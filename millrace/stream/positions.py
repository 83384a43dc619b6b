"""Which offset of a partition must come next, decided purely.

Job topics are neither compacted nor transactional, so offsets come without gaps: one that is missing was skipped
by the client and would be lost if later offsets were committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto

from millrace.kafka.records import Partition


class Arrival(Enum):
    """What to make of a record that was delivered."""

    NEXT = auto()
    """The one that must come next."""
    REPEATED = auto()
    """Delivered before in this assignment: drop it."""
    GAP = auto()
    """Records before it were skipped: stop without acknowledging, so that a restart fetches them again."""


class Positions:
    """Next expected offset of each assigned partition."""

    def __init__(self) -> None:
        self._next: dict[Partition, int] = {}

    def expected(self, at: Partition, starts: Mapping[Partition, int]) -> int:
        """Offset that must come next; `starts` tells where the present assignment began."""
        return self._next.get(at, starts.get(at, 0))

    def arrive(self, at: Partition, offset: int, starts: Mapping[Partition, int]) -> Arrival:
        """Judge a record and, if it is the next one, move on."""
        expected = self.expected(at, starts)
        if offset > expected:
            return Arrival.GAP
        if offset < expected:
            return Arrival.REPEATED
        self._next[at] = offset + 1
        return Arrival.NEXT

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that were revoked."""
        for at in partitions:
            self._next.pop(at, None)
