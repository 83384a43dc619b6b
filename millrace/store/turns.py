"""The order of the records that speak of one job. Pure.

Kafka delivers again what was read before: the last records after a crash, all of them when a group is set back. And
one job has records on several topics, which are read side by side. So each record has a turn, which is the same
however often it is read, and a job's row has the turn of the record that its state comes from: a record before that
has had its time, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

NOT_WAITED: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TICK: Final = timedelta(microseconds=1)


@dataclass(frozen=True, order=True)
class Turn:
    """When the stage was asked, and when what came of it last began to wait.

    `asked_at` is when what an event tells came about, or when a person or a replay asked: it stands in the record.
    Clocks of machines that differ by more than the time between two wishes for one share turn their order around.
    """

    asked_at: datetime
    waited_at: datetime = NOT_WAITED

    def after_waiting(self, now: datetime) -> Turn:
        """Turn of the command that brings the job back: always a later one, also by a clock that is behind."""
        return Turn(self.asked_at, max(now, self.waited_at + _TICK))
