"""How long a failed try waits, decided purely."""

from __future__ import annotations

from datetime import timedelta

FIRST_S = 2.0
LONGEST_S = 600.0
JITTER = 0.3


def backoff(attempt: int, chance: float, retry_after_s: float | None = None) -> timedelta:
    """Delay before the try after `attempt` failed ones (from 1): doubling, with up to 30 % jitter either way.

    :param chance: a random number in [0, 1), which makes the jitter.
    :param retry_after_s: the least that the provider asked for.
    """
    plain = min(FIRST_S * 2.0 ** (attempt - 1), LONGEST_S)
    jittered = plain * (1 - JITTER + 2 * JITTER * chance)
    return timedelta(seconds=max(jittered, retry_after_s or 0.0))
