"""Budget windows: hours and days in UTC, in milliseconds since the epoch. Pure."""

from __future__ import annotations

from typing import Final

from millrace.contracts.events import Window

LENGTH_MS: Final[dict[Window, int]] = {"hour": 3_600_000, "day": 86_400_000}
"""UTC has no days of 23 or 25 hours, and Unix time no leap seconds, so lengths are fixed."""

WINDOWS: Final[tuple[Window, ...]] = ("hour", "day")


def start_of(window: Window, at_ms: int) -> int:
    """Start of the window that a moment falls into; the boundary itself belongs to the window it opens."""
    return at_ms - at_ms % LENGTH_MS[window]


def next_start(window: Window, at_ms: int) -> int:
    """Start of the window after the one that a moment falls into."""
    return start_of(window, at_ms) + LENGTH_MS[window]


KEPT_MS: Final = LENGTH_MS["day"]
"""How long after its end the admission core keeps a window's sums. It needs them for grants only, so only until then;
the tables and the journal keep them for good."""


def kept_until(window: Window, start: int) -> int:
    """When, in the log's time, the admission core drops the sums of a window."""
    return start + LENGTH_MS[window] + KEPT_MS
