"""How the connection to the broker stands, which transitions there are, and how long is waited. Pure.

librdkafka connects by itself, and again; this is what is known of that. Moments are seconds of a clock that never
goes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

LinkState = Literal["disconnected", "connecting", "connected", "closing", "closed"]
LINK_STATES: Final[tuple[LinkState, ...]] = ("disconnected", "connecting", "connected", "closing", "closed")
LinkEvent = Literal["attempt", "answered", "lost", "close", "closed"]

TRANSITIONS: Final[Mapping[tuple[LinkState, LinkEvent], LinkState]] = {
    ("disconnected", "attempt"): "connecting",
    ("disconnected", "answered"): "connected",  # librdkafka was there before us: a late confirmation
    ("disconnected", "lost"): "disconnected",
    ("disconnected", "close"): "closing",
    ("connecting", "answered"): "connected",
    ("connecting", "lost"): "disconnected",
    ("connecting", "close"): "closing",
    ("connected", "answered"): "connected",
    ("connected", "lost"): "disconnected",
    ("connected", "close"): "closing",
    # What was under way when we began to close may still be answered, or not.
    ("closing", "answered"): "closing",
    ("closing", "lost"): "closing",
    ("closing", "close"): "closing",
    ("closing", "closed"): "closed",
    ("closed", "answered"): "closed",
    ("closed", "lost"): "closed",
    ("closed", "close"): "closed",
}
ALARM_AFTER: Final = 10
_FIRST_RECONNECT_S: Final = 0.5
_LONGEST_RECONNECT_S: Final = 32.0
_FIRST_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 10.0
_SPREAD: Final = 0.3


class IllegalTransition(Exception):
    """A fault of ours: this cannot happen to a connection in that state."""


@dataclass(frozen=True)
class Link:
    """A connection: its state and since when; attempts that failed in a row; how often it was there again."""

    state: LinkState
    since: float
    attempts: int = 0
    reconnects: int = 0
    was_connected: bool = False

    @property
    def alarm(self) -> bool:
        """Whether a person should look: ten attempts in a row have failed. Probing goes on."""
        return self.attempts >= ALARM_AFTER

    def after(self, event: LinkEvent, now: float) -> Link:
        """The connection after something has happened to it.

        :raises IllegalTransition: it cannot happen now.
        """
        try:
            state = TRANSITIONS[self.state, event]
        except KeyError:
            raise IllegalTransition(f"{event} cannot happen to a connection that is {self.state}") from None
        moved = replace(self, state=state, since=self.since if state == self.state else now)
        if state == "connected" and self.state != "connected":
            again = self.reconnects + (1 if self.was_connected else 0)
            return replace(moved, attempts=0, reconnects=again, was_connected=True)
        if self.state == "connecting" and event == "lost":
            return replace(moved, attempts=self.attempts + 1)
        return moved


def reconnect_s(attempts: int, jitter: float) -> float:
    """Seconds before the next attempt to connect: 0.5 s doubling to 32 s with each that failed, spread by 30 %.

    :param jitter: between 0 and 1.
    """
    return _spread(min(_FIRST_RECONNECT_S * 2.0 ** min(attempts, 16), _LONGEST_RECONNECT_S), jitter)


def retry_s(failures: int, jitter: float) -> float:
    """Seconds before messages are sent again after so many rounds in a row without a confirmation (from 1).

    1 s doubling to 10 s, spread by 30 %.

    :param jitter: between 0 and 1.
    """
    return _spread(min(_FIRST_RETRY_S * 2.0 ** min(failures - 1, 16), _LONGEST_RETRY_S), jitter)


def _spread(wait_s: float, jitter: float) -> float:
    return wait_s * (1.0 - _SPREAD + 2.0 * _SPREAD * jitter)
