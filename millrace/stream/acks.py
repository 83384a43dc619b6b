"""Acknowledgement in offset order, decided purely.

Faust commits the highest acknowledged offset of a partition. Handing acknowledgements out strictly in delivery
order keeps every commit behind the oldest unfinished job.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

from millrace.kafka.records import Partition

E = TypeVar("E")


class OrderedAcks(Generic[E]):
    """Holds delivered events until they and all before them are finished.

    Finish offset 12 before 11, and both are held until 11 is finished too.
    """

    def __init__(self) -> None:
        # Strong references: Faust itself keeps only weak ones to events that are not acknowledged.
        self._open: dict[Partition, OrderedDict[int, E]] = {}
        self._finished: dict[Partition, set[int]] = {}

    def track(self, at: Partition, offset: int, event: E) -> None:
        """Remember a delivered event; a redelivery of the same offset replaces the event."""
        self._open.setdefault(at, OrderedDict())[offset] = event

    def finish(self, at: Partition, offset: int) -> list[E]:
        """Mark an offset finished; returns the events that may now be acknowledged, in order.

        An offset of a partition that was dropped is ignored: its record will be delivered again, here or elsewhere.
        """
        window = self._open.get(at)
        if window is None or offset not in window:
            return []
        finished = self._finished.setdefault(at, set())
        finished.add(offset)
        ready: list[E] = []
        while window and (head := next(iter(window))) in finished:
            finished.remove(head)
            ready.append(window.pop(head))
        return ready

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions that were revoked."""
        for at in partitions:
            self._open.pop(at, None)
            self._finished.pop(at, None)

    def oldest(self, at: Partition) -> int | None:
        """The first offset that is not acknowledged, if one is held."""
        return next(iter(self._open.get(at, ())), None)

    def unfinished(self) -> int:
        """Events that are held: running, waiting their turn, or finished behind an unfinished one."""
        return sum(map(len, self._open.values()))
