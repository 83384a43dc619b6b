"""A moment as people type it: so long ago, or the time itself. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment_of(text: str, now: datetime) -> datetime:
    """The moment in UTC: `90m`, `24h`, `7d` ago, or `2026-11-27`, `2026-11-27T14:30` (UTC unless it says
    otherwise).

    :raises ValueError: none is, or none that a calendar has.
    """
    typed = text.strip()
    ago = _AGO.fullmatch(typed)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(typed)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError(f"{typed!r} is outside of the calendar") from exc
