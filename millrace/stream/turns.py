"""The turn of a record, as it stands in the record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from millrace.contracts.events import Event, ResultEvent, ShareCreated
from millrace.contracts.headers import TIME_HEADER
from millrace.store.turns import NOT_WAITED, Turn

_LAST_YEAR = 9999  # in which a moment later may be none of the calendar
_ASKED, _WAITED = "millrace-asked-at", "millrace-waited-at"


def turn_headers(turn: Turn) -> dict[str, str]:
    """What a command that brings work back says of its turn."""
    return {_ASKED: turn.asked_at.isoformat(), _WAITED: turn.waited_at.isoformat()}


def turn_of(event: Event, headers: Mapping[str, bytes]) -> Turn | None:
    """The turn of an event: when what it tells came about, which is the same however often it is told.

    A result that was there before its share asked for it came about for the share when it did: `ce_time` says so.
    """
    match event:
        case ShareCreated():
            return Turn(event.created_at)
        case ResultEvent():
            return Turn(_time(headers.get(TIME_HEADER)) or event.produced_at)
    return None


def turn_of_headers(headers: Mapping[str, bytes]) -> Turn | None:
    """The turn that work waits for; None when it began to wait under a version that did not say so."""
    asked_at, waited_at = (_time(headers.get(name)) for name in (_ASKED, _WAITED))
    return None if asked_at is None else Turn(asked_at, waited_at or NOT_WAITED)


def _time(text: bytes | None) -> datetime | None:
    try:
        found = datetime.fromisoformat((text or b"").decode("ascii", "replace"))
        return found.astimezone(UTC) if found.tzinfo and found.year < _LAST_YEAR else None
    except (ValueError, OverflowError):  # nobody of ours wrote it; the latter: a day outside the calendar elsewhere
        return None
