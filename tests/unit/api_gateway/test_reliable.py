"""Sending and probing over a client whose broker is there or not, with a clock moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import REGISTRY

from millrace.errors import Unavailable
from services.api_gateway.breaker import OPENS_AFTER
from services.api_gateway.ports import OutboxRow, Unconfirmed
from services.api_gateway.reliable import ReliablePublisher
from tests.support.waiting import eventually

TIMEOUT = Unconfirmed("Local: Message timed out", "timeout")
REFUSED = Unconfirmed("Broker: Message size too large", "refused")
ROWS = [OutboxRow(1, "t", b"a", b"", {}), OutboxRow(2, "t", b"b", b"", {})]


def retries() -> float:
    return REGISTRY.get_sample_value("ml_producer_retry_total") or 0.0


@dataclass
class Broker:
    """A client's broker: whether it is there, and what it says of each message."""

    there: bool = True
    outcome: Unconfirmed | None = None
    probes: int = 0
    closed: bool = False
    now: float = 0.0
    sent: list[list[int]] = field(default_factory=list)

    async def send(self, rows: Sequence[OutboxRow]) -> Sequence[Unconfirmed | None]:
        self.sent.append([row.seq for row in rows])
        return [self.outcome] * len(rows)

    async def metadata(self) -> int:
        self.probes += 1
        if not self.there:
            raise Unavailable("Kafka does not answer.")
        return 1

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def running(broker: Broker) -> AsyncIterator[ReliablePublisher]:
    publisher = ReliablePublisher(broker, monotonic=lambda: broker.now, jitter=lambda: 0.5)
    probing = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        await publisher.close()
        await asyncio.wait_for(probing, 5)


async def test_it_is_open_once_the_broker_has_answered_and_closed_at_the_end() -> None:
    broker = Broker()
    async with running(broker) as publisher:
        assert not publisher.standing.may_send
        await asyncio.wait_for(publisher.opened(), 5)
        assert await publisher.publish(ROWS) == [None, None]
        assert broker.sent == [[1, 2]]
    assert (publisher.standing.link.state, broker.closed) == ("closed", True)


async def test_a_broker_that_is_away_is_not_sent_to_until_it_answers() -> None:
    broker = Broker(there=False)
    async with running(broker) as publisher:
        await eventually(lambda: publisher.counts.probe_failures == 1, "the first probe")
        opened = asyncio.create_task(publisher.opened())
        broker.there = True
        broker.now = publisher.standing.next_probe_at
        publisher.lost("tell it to look at the clock")
        await asyncio.wait_for(opened, 5)
        assert publisher.counts.last_error == "tell it to look at the clock"


async def test_time_outs_are_counted_for_each_message_and_failures_for_each_batch() -> None:
    broker = Broker(outcome=TIMEOUT)
    async with running(broker) as publisher:
        await asyncio.wait_for(publisher.opened(), 5)
        assert await publisher.publish(ROWS) == [TIMEOUT.reason] * 2
        assert (publisher.counts.confirm_timeouts, publisher.standing.breaker.failures) == (2, 1)
        assert (publisher.counts.last_error, publisher.counts.in_flight) == (TIMEOUT.reason, 0)
        assert publisher.failing


async def test_a_row_counts_as_failed_until_it_is_confirmed_whatever_is_sent_between() -> None:
    broker = Broker(outcome=TIMEOUT)
    async with running(broker) as publisher:
        await publisher.publish(ROWS[:1])
        broker.outcome = None
        await publisher.publish(ROWS[1:])
        assert publisher.counts.failed == {1}
        before = retries()
        await publisher.publish(ROWS)
        assert retries() - before == 1
        assert publisher.counts.failed == frozenset()


async def test_refused_messages_say_nothing_against_the_broker() -> None:
    broker = Broker(outcome=REFUSED)
    async with running(broker) as publisher:
        await asyncio.wait_for(publisher.opened(), 5)
        for _ in range(OPENS_AFTER + 1):
            assert await publisher.publish(ROWS) == [REFUSED.reason] * 2
        assert publisher.standing.may_send
        assert not publisher.failing


async def test_alarm_and_open_breaker_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(there=False)
    async with running(broker) as publisher:
        for attempts in range(1, 13):
            await eventually(lambda n=attempts: publisher.counts.probe_failures == n, "a probe")  # type: ignore[misc]
            assert publisher.standing.link.alarm == (attempts >= 10)
            assert (publisher.standing.breaker.state == "open") == (attempts >= OPENS_AFTER)
            broker.now = publisher.standing.next_probe_at
            publisher.lost("look at the clock")
    assert [r.levelname for r in caplog.records if "10 attempts in a row" in r.getMessage()] == ["ERROR", "WARNING"]
