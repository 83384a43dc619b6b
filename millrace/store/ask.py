"""What a record asks of a job, and what is known of the job when it does. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from millrace.contracts.events import TaskState
from millrace.ids import WorkKey
from millrace.store.turns import Turn


@dataclass(frozen=True)
class JobRow:
    """What is known of a job when a record about it arrives.

    `turn` is None until one has brought it on; `told_at` is when the share got the result of this work.
    """

    work_key: WorkKey | None
    state: TaskState
    attempt: int
    published: bool
    cancelled_at: datetime | None = None
    turn: Turn | None = None
    told_at: datetime | None = None


@dataclass(frozen=True)
class Ask:
    """What a record asks: its turn, None when it does not say; `anew` when a person or a replay asked for it."""

    turn: Turn | None = None
    anew: bool = False


ASKED_BY_NOBODY: Final = Ask()
