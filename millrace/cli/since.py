"""A time as people type it: `2h` ago, or the time itself. Pure but for the clock of `--since`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_AGO = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
HELP = "30m, 2h, 7d ago, or a time such as 2030-01-31T03:00 (UTC unless it says its zone)"


def moment_of(text: str, now: datetime) -> datetime:
    """The moment that is meant.

    :raises ValueError: none is.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def since_option(text: str | None) -> str | None:
    """For options: the moment in ISO form.

    :raises typer.BadParameter: it is none.
    """
    try:
        return None if text is None else moment_of(text, datetime.now(UTC)).isoformat()
    except (ValueError, OverflowError) as exc:
        raise typer.BadParameter(f"give {HELP}.") from exc
