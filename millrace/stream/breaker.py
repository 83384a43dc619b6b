"""When a provider counts as down, and for how long nobody calls it then. Pure."""

from __future__ import annotations

from datetime import timedelta

DOWN_AFTER = 5
"""Calls that fail one after another, of any jobs: more than the tries of a single one, so that no input that its
provider cannot take stops everybody."""
FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 300.0
LONGEST_ASKED_S = 86_400.0
"""As in `millrace.stream.backoff`."""


def pause(closings: int, retry_after_s: float | None = None) -> timedelta:
    """How long a provider is left alone: doubling with each pause in a row, at least what it asked for.

    :param closings: pauses in a row before this one, without a call that succeeded.
    """
    doubling = min(FIRST_PAUSE_S * 2.0 ** min(closings, 16), LONGEST_PAUSE_S)
    return timedelta(seconds=max(doubling, min(retry_after_s or 0.0, LONGEST_ASKED_S)))
