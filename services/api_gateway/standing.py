"""When messages may be sent to the broker, and when it is asked whether it is there: connection and breaker. Pure.

A batch is tried three times in a row; then it waits in the outbox, and the connection counts as lost until the broker
has answered a probe. What fails is an attempt, a batch or a probe, and not each message: one time-out of a full batch
would open the breaker otherwise. Moments are seconds of a clock that never goes back; jitter is between 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from services.api_gateway.breaker import Breaker
from services.api_gateway.link import Link, reconnect_s

TRIES_IN_A_ROW: Final = 3
PROBE_EVERY_S: Final = 30.0


@dataclass(frozen=True)
class Standing:
    """What is known of the broker. `tries`: batches in a row that it did not answer since it was last reached."""

    link: Link
    breaker: Breaker
    next_probe_at: float
    tries: int = 0

    @property
    def may_send(self) -> bool:
        """Whether a batch may be sent now."""
        return self.link.state == "connected" and self.breaker.may_send

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed: new messages are no reason to hurry then."""
        return self.breaker.failures > 0 or not self.may_send

    @property
    def over(self) -> bool:
        """Whether nothing more will be asked or sent."""
        return self.link.state in ("closing", "closed")

    def probe_due(self, now: float) -> bool:
        """Whether the broker is to be asked now whether it is there."""
        return not self.over and self.breaker.may_probe(now) and now >= self.next_probe_at

    def probing(self, now: float) -> Standing:
        """The broker is asked now."""
        link = self.link.after("attempt", now) if self.link.state == "disconnected" else self.link
        return replace(self, link=link, breaker=self.breaker.probing(now))

    def answered(self, now: float) -> Standing:
        """It answered a probe."""
        breaker = self.breaker.answered()
        closes_at = now + PROBE_EVERY_S if breaker.may_close_at is None else breaker.may_close_at
        return replace(
            self,
            link=self.link.after("answered", now),
            breaker=breaker,
            next_probe_at=min(now + PROBE_EVERY_S, closes_at),
            tries=self.tries if self.link.state == "connected" else 0,
        )

    def unanswered(self, now: float, jitter: float) -> Standing:
        """It did not answer a probe."""
        return _lost(_failed(self, now, jitter), now, jitter)

    def confirmed(self, now: float) -> Standing:
        """It has taken a message, which says more than an answered probe."""
        return Standing(self.link.after("answered", now), self.breaker.confirmed(), now + PROBE_EVERY_S)

    def unconfirmed(self, now: float, jitter: float) -> Standing:
        """It has taken no message of a batch in time; after the third in a row, or with an open breaker, all wait."""
        after = replace(_failed(self, now, jitter), tries=self.tries + 1)
        if after.tries < TRIES_IN_A_ROW and after.breaker.may_send:
            return after
        return _lost(after, now, jitter) if self.link.state == "connected" else after

    def lost(self, now: float, jitter: float) -> Standing:
        """librdkafka says that no broker can be reached. A probe that is under way will tell for itself."""
        return _lost(self, now, jitter) if self.link.state == "connected" else self

    def closing(self, now: float) -> Standing:
        """Nothing more is sent."""
        return replace(self, link=self.link.after("close", now))

    def closed(self, now: float) -> Standing:
        """Nothing more is in flight."""
        return replace(self, link=self.link.after("closed", now))


def begun(now: float) -> Standing:
    """Nothing is known yet: the broker is asked at once."""
    return Standing(Link("disconnected", now), Breaker(), now)


def _failed(before: Standing, now: float, jitter: float) -> Standing:
    breaker = before.breaker.failed(now)
    return replace(before, breaker=breaker, next_probe_at=_probe_at(before, before.link, breaker, now, jitter))


def _lost(before: Standing, now: float, jitter: float) -> Standing:
    link = before.link.after("lost", now)
    return replace(before, link=link, next_probe_at=_probe_at(before, link, before.breaker, now, jitter), tries=0)


def _probe_at(before: Standing, link: Link, breaker: Breaker, now: float, jitter: float) -> float:
    """With an open breaker at once when it may close; else by the back-off, or as it was while connected."""
    if breaker.may_close_at is not None:
        return max(now, breaker.may_close_at)
    return before.next_probe_at if link.state == "connected" else now + reconnect_s(link.attempts, jitter)
