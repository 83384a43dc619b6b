"""How long a failed try waits, decided purely."""

from __future__ import annotations

from datetime import timedelta

FIRST_S = 2.0
LONGEST_S = 600.0
JITTER = 0.3
LONGEST_ASKED_S = 86_400.0
"""A server that asks for more is not believed: its number may be anything, also beyond the calendar."""


def backoff(attempt: int, chance: float, retry_after_s: float | None = None) -> timedelta:
    """Delay before the try after `attempt` failed ones (from 1): doubling, with up to 30 % jitter either way.

    :param chance: a random number in [0, 1), which makes the jitter.
    :param retry_after_s: the least that the provider asked for; at most a day of it is waited.
    """
    plain = min(FIRST_S * 2.0 ** (attempt - 1), LONGEST_S)
    jittered = plain * (1 - JITTER + 2 * JITTER * chance)
    return timedelta(seconds=max(jittered, min(retry_after_s or 0.0, LONGEST_ASKED_S)))
