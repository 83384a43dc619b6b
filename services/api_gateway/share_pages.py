"""Where a page of shares ends and the next one begins. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from millrace.contracts.events import SourceKind, TaskState
from millrace.contracts.share_api import ShareFilter, ShareState
from services.api_gateway.domain import share_state
from services.api_gateway.errors import Unreadable

LOOKED_AT: Final = (200, 1_000, 4_000)
"""Shares that a page with a filter looks at, one stretch after the other, before it is given out as it is."""
_CURSOR: Final = re.compile(r"([0-9]{1,17})\.([^\x00]{1,500})")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

CANDIDATES: Final[dict[ShareState, tuple[TaskState, ...]]] = {
    "failed": ("failed",),
    "running": ("running", "queued"),
    "parked": ("parked",),
    "waiting": ("waiting",),
    "queued": ("queued",),
    "cancelled": ("cancelled",),
}
"""A share in this state has a stage in one of these, as `share_state` has it: half of it done, half of it queued is
running. One that is done has none that is not over, so it is looked for among all shares.
"""


@dataclass(frozen=True, order=True)
class Spot:
    """A share's place in the order of the list."""

    created_at: datetime
    share_id: str


@dataclass(frozen=True)
class Candidate:
    """What tells whether a share belongs to a list."""

    spot: Spot
    kind: SourceKind
    account: str
    states: Sequence[TaskState]

    def fits(self, which: ShareFilter) -> bool:
        """Whether everything that was asked for holds."""
        return (
            which.kind in (None, self.kind)
            and which.account in (None, self.account)
            and (which.state is None or which.state == share_state(self.states))
        )


@dataclass
class Page:
    """A page that is being filled; `next` is where the next one goes on, None at the end of the list."""

    which: ShareFilter
    chosen: list[Spot] = field(default_factory=list)
    next: Spot | None = None

    def take(self, looked: Sequence[Candidate], most: int) -> bool:
        """Take what fits; whether the page is done.

        :param looked: at most `most` candidates, newest first; fewer when there are no others.
        """
        for number, candidate in enumerate(looked):
            if not candidate.fits(self.which):
                continue
            self.chosen.append(candidate.spot)
            if len(self.chosen) == self.which.limit:
                is_last = number + 1 == len(looked) < most
                self.next = None if is_last else candidate.spot
                return True
        self.next = looked[-1].spot if len(looked) == most else None
        return self.next is None


def cursor_of(spot: Spot) -> str:
    """A spot as a text: whose list it is is never in it.

    >>> cursor_of(Spot(datetime(2026, 1, 1, tzinfo=UTC), "a"))
    '1767225600000000.a'
    """
    return f"{(spot.created_at - _EPOCH) // _MICROSECOND}.{spot.share_id}"


def spot_of(cursor: str) -> Spot:
    """The spot that a cursor names.

    :raises Unreadable: it is none.
    """
    found = _CURSOR.fullmatch(cursor)
    try:
        if found is not None:
            return Spot(_EPOCH + int(found[1]) * _MICROSECOND, found[2])
    except OverflowError:  # a year that no calendar has
        pass
    raise Unreadable("The cursor is none that this list has given: leave it out to begin anew.")
