"""What servers of others say in HTTP, taken with care. Pure."""

from __future__ import annotations

_LONGEST_WAIT_S = 3600.0
"""A server that asks for more is asked again after an hour: it must not be able to put work off for years."""


def retry_after_s(header: str | None) -> float | None:
    """Seconds of a `Retry-After` header, at most an hour; None without one, and for a date.

    >>> retry_after_s("120"), retry_after_s("9" * 400), retry_after_s("Wed, 21 Oct 2026 07:28:00 GMT")
    (120.0, 3600.0, None)
    """
    if header is None or not (header.isascii() and header.isdecimal()):
        return None
    return min(float(header), _LONGEST_WAIT_S)
