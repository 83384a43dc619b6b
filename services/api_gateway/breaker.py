"""Whether a broker that did not answer may be sent messages again: a circuit breaker. Pure.

Closed, messages are sent. After ten failures in a row within ten minutes it is open for 30 s: nothing is sent,
whatever is new. Then it is half-open: one probe is made, and its answer closes it, or opens it for another 30 s.
Moments are seconds of a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

BreakerState = Literal["closed", "open", "half_open"]
BREAKER_STATES: Final[tuple[BreakerState, ...]] = ("closed", "open", "half_open")
OPENS_AFTER: Final = 10
OPEN_S: Final = 30.0
COUNTED_S: Final = 600.0
"""Ten probes of a broker that is away take some three minutes; failures further apart have other causes."""


@dataclass(frozen=True)
class Breaker:
    """Its state, when it failed in a row, and from when on a probe may close it (None while it is closed)."""

    state: BreakerState = "closed"
    failed_at: tuple[float, ...] = ()
    may_close_at: float | None = None

    @property
    def failures(self) -> int:
        """Failures in a row that count."""
        return len(self.failed_at)

    @property
    def may_send(self) -> bool:
        """Whether messages may be sent."""
        return self.state == "closed"

    def may_probe(self, now: float) -> bool:
        """Whether the broker may be asked whether it is there: not while it is open, and half-open only once."""
        if self.state == "open":
            return self.may_close_at is None or now >= self.may_close_at
        return self.state == "closed"

    def probing(self, now: float) -> Breaker:
        """A probe is made now; an open breaker whose time is over is half-open from here on."""
        return replace(self, state="half_open") if self.state == "open" and self.may_probe(now) else self

    def failed(self, now: float) -> Breaker:
        """The broker did not answer an attempt: a batch of messages, or a probe."""
        failed_at = (*(moment for moment in self.failed_at if now - moment < COUNTED_S), now)
        if self.state == "half_open" or (self.state == "closed" and len(failed_at) >= OPENS_AFTER):
            return Breaker("open", failed_at, now + OPEN_S)
        return replace(self, failed_at=failed_at)

    def answered(self) -> Breaker:
        """The broker answered a probe. That closes what is half-open, and forgives no messages it has not taken."""
        return Breaker() if self.state == "half_open" else self

    def confirmed(self) -> Breaker:
        """The broker has taken a message: all is well."""
        return Breaker()
