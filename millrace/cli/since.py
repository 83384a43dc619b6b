"""The option `--since`."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from millrace.times import moment_of

HELP = "30m, 2h, 7d ago, or a time such as 2030-01-31T03:00 (UTC unless it says its zone)"


def since_option(text: str | None) -> str | None:
    """For options: the moment in ISO form.

    :raises typer.BadParameter: it is none.
    """
    try:
        return None if text is None else moment_of(text, datetime.now(UTC)).isoformat()
    except ValueError as exc:
        raise typer.BadParameter(f"give {HELP}.") from exc
