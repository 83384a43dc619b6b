"""Where the next page of a list of ledger entries begins, as a text for its `next`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from services.api_gateway.errors import Unreadable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR: Final = re.compile(r"([0-9]{1,17})\.([0-9]{1,9})\.([0-9]{1,18})")


@dataclass(frozen=True)
class Place:
    """A place in a list: when an entry was decided, and where in the log."""

    at: datetime
    partition: int
    offset: int


START: Final = Place(_EPOCH, -1, -1)
END: Final = Place(datetime(9999, 12, 31, tzinfo=UTC), 0, 0)
"""Before and behind all entries: where lists begin, oldest or newest first."""


def cursor_of(place: Place) -> str:
    """A place as the cursor of the page behind it."""
    return f"{(place.at - _EPOCH) // timedelta(microseconds=1)}.{place.partition}.{place.offset}"


def place_of(cursor: str | None, otherwise: Place) -> Place:
    """The place that a cursor names; `otherwise` without one.

    :raises Unreadable: it is no cursor.
    """
    if cursor is None:
        return otherwise
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise Unreadable("The cursor is none that this list has given.")
    micros, partition, offset = map(int, found.groups())
    return Place(_EPOCH + timedelta(microseconds=micros), partition, offset)
