"""When so many jobs end as dead letters that the fault is the stage's and not theirs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class DeadLimit:
    """At most this `share` (0 to 1) of the `last` jobs that ended may be dead letters, once `least` have ended.

    A share of 1 is no limit.
    """

    share: float = 0.5
    last: int = 50
    least: int = 20


def too_many(ends: Iterable[bool], limit: DeadLimit) -> bool:
    """Whether the stage should take nothing new.

    :param ends: of jobs in the order in which they ended, True for a dead letter.
    """
    recent = list(ends)[-limit.last :]
    return len(recent) >= min(limit.least, limit.last) and sum(recent) > limit.share * len(recent)
