"""Sending to a Kafka that may be away: does what `standing` decides, probes the broker, and shows how it stands."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from millrace.errors import Unavailable
from millrace.telemetry import producing as metrics
from services.api_gateway.breaker import BREAKER_STATES
from services.api_gateway.link import LINK_STATES
from services.api_gateway.ports import Kafka, OutboxRow, Unconfirmed
from services.api_gateway.standing import Standing, begun

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """What has happened since the process began."""

    confirm_timeouts: int = 0
    probe_failures: int = 0
    in_flight: int = 0
    last_error: str | None = None
    failed: frozenset[int] = field(default_factory=frozenset)
    """Rows that were not confirmed when they were last sent, by `seq`."""


class ReliablePublisher:
    """Publishes rows by a client of Kafka and keeps the standing of that; `run` probes, and must run.

    :param monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        kafka: Kafka,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._kafka = kafka
        self._monotonic = monotonic
        self._jitter = jitter
        self._changed = asyncio.Event()
        self.standing = begun(monotonic())
        self.counts = Counts()
        self._show()

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self.standing.failing

    def age_s(self, moment: float) -> float:
        """Seconds since a moment of the standing; negative when it is still to come."""
        return self._monotonic() - moment

    async def opened(self) -> None:
        """Wait until messages may be sent; for ever once it is closed."""
        while not self.standing.may_send:
            await self._change()

    async def publish(self, rows: Sequence[OutboxRow]) -> Sequence[str | None]:
        """Send rows in order; None for each that is confirmed, else why not."""
        metrics.PRODUCE_RETRIES.inc(sum(row.seq in self.counts.failed for row in rows))
        self._in_flight(len(rows))
        began = self._monotonic()
        try:
            outcomes = await self._kafka.send(rows)
        finally:
            self._in_flight(0)
        metrics.PUBLISH_SECONDS.observe(self._monotonic() - began)
        self._count(rows, outcomes)
        if any(outcome is None for outcome in outcomes):
            self._be(self.standing.confirmed(self._monotonic()))
        elif any(outcome is not None and outcome.why != "refused" for outcome in outcomes):
            self._be(self.standing.unconfirmed(self._monotonic(), self._jitter()))
        return [None if outcome is None else outcome.reason for outcome in outcomes]

    async def metadata(self) -> int:
        """Number of brokers that answer.

        :raises Unavailable: none does, within three seconds.
        """
        return await self._kafka.metadata()

    def lost(self, reason: str) -> None:
        """The client cannot reach any broker."""
        self.counts.last_error = reason
        self._be(self.standing.lost(self._monotonic(), self._jitter()))

    async def run(self) -> None:
        """Probe the broker whenever that is due, until it is closed."""
        while not self.standing.over:
            if self.standing.probe_due(self._monotonic()):
                await self._probe()
            else:
                await self._change(within_s=max(0.0, self.standing.next_probe_at - self._monotonic()))

    async def close(self) -> None:
        """Stop; what is not confirmed stays in the outbox for the next start."""
        self._be(self.standing.closing(self._monotonic()))
        await self._kafka.close()
        self._be(self.standing.closed(self._monotonic()))

    async def _probe(self) -> None:
        self._be(self.standing.probing(self._monotonic()))
        try:
            await self._kafka.metadata()
        except Unavailable as exc:
            self.counts.probe_failures += 1
            self.counts.last_error = str(exc)
            metrics.PROBE_FAILURES.inc()
            self._be(self.standing.unanswered(self._monotonic(), self._jitter()))
        else:
            self._be(self.standing.answered(self._monotonic()))

    async def _change(self, within_s: float | None = None) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._changed.wait()
        except TimeoutError:
            return

    def _in_flight(self, messages: int) -> None:
        self.counts.in_flight = messages
        metrics.IN_FLIGHT.set(messages)

    def _count(self, rows: Sequence[OutboxRow], outcomes: Sequence[Unconfirmed | None]) -> None:
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome is None:
                metrics.PRODUCED.labels(row.topic).inc()
                continue
            metrics.PRODUCE_FAILURES.labels(outcome.why).inc()
            self.counts.last_error = outcome.reason
            if outcome.why == "timeout":
                self.counts.confirm_timeouts += 1
                metrics.CONFIRM_TIMEOUTS.inc()
        failed = (row.seq for row, outcome in zip(rows, outcomes, strict=True) if outcome is not None)
        self.counts.failed = (self.counts.failed - {row.seq for row in rows}) | set(failed)

    def _be(self, standing: Standing) -> None:
        """Take a new standing: say what changed, show it, and wake who waits for it."""
        before, self.standing = self.standing, standing
        self._say(before)
        metrics.RECONNECTS.inc(standing.link.reconnects - before.link.reconnects)
        self._show()
        self._changed.set()

    def _say(self, before: Standing) -> None:
        link, breaker = self.standing.link, self.standing.breaker
        if link.alarm and not before.link.alarm:
            log.error("Kafka has not answered %d attempts in a row; probing goes on", link.attempts)
        if breaker.state == "open" and before.breaker.state == "closed":
            log.warning("Nothing is sent to Kafka for now: %d attempts in a row failed", breaker.failures)
        if before.link.state == "connected" and link.state == "disconnected":
            log.warning("The connection to Kafka is lost (%s); messages wait in the outbox", self.counts.last_error)
        if link.state == "connected" and before.link.state != "connected":
            log.info("Kafka answers; messages of the outbox are sent")

    def _show(self) -> None:
        link, breaker = self.standing.link, self.standing.breaker
        metrics.show_state(metrics.CONNECTION_STATE, link.state, LINK_STATES)
        metrics.show_state(metrics.BREAKER_STATE, breaker.state, BREAKER_STATES)
        metrics.ALARM.set(link.alarm)
