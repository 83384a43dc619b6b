"""GET /api/ml/analytics/health: how the gateway's producer and its outbox stand."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi import APIRouter
from pydantic import BaseModel

from millrace.clock import Clock
from millrace.store.pool import OUTAGES
from services.api_gateway.breaker import BreakerState
from services.api_gateway.link import LinkState
from services.api_gateway.outbox import lag
from services.api_gateway.ports import OutboxLag
from services.api_gateway.reliable import ReliablePublisher
from services.api_gateway.resources import Parts
from services.api_gateway.who import Who

router = APIRouter(tags=["ops"])
_WITHIN_S = 3.5


class BreakerHealth(BaseModel):
    """`may_close_at`: when a probe is made that may close it; null while it is closed."""

    state: BreakerState
    may_close_at: datetime | None


class RetryQueue(BaseModel):
    """What Kafka has not confirmed yet, of the whole database; null while that does not answer.

    `in_flight` are those that this gateway has sent.
    """

    messages: int | None
    oldest_s: float | None
    in_flight: int


class ProducerHealth(BaseModel):
    """How this gateway's connection to Kafka stands. Counts are of this process, from its start.

    `drains`: this is the one gateway that publishes the outbox; another does if it is false. `alarm`: ten attempts in
    a row to connect have failed. `consecutive_failures`: batches and probes that were not answered.
    """

    state: LinkState
    since: datetime
    drains: bool
    alarm: bool
    reconnects: int
    connect_attempts: int
    consecutive_failures: int
    breaker: BreakerHealth
    retry_queue: RetryQueue
    confirm_timeouts: int
    probe_failures: int
    last_error: str | None


@router.get("/api/ml/analytics/health")
async def producer_health(parts: Parts, _: Who) -> ProducerHealth:
    """How the gateway's producer stands, and how much waits for it."""
    waiting: OutboxLag | None
    try:
        waiting = await parts.waiting.ask(lambda: lag(parts.pool), within_s=_WITHIN_S)
    except OUTAGES:  # what is known of Kafka is shown all the same
        waiting = None
    publisher = parts.publisher
    standing, counts = publisher.standing, publisher.counts
    return ProducerHealth(
        state=standing.link.state,
        since=_moment(publisher, standing.link.since, parts.clock),
        drains=parts.drainer.drains,
        alarm=standing.link.alarm,
        reconnects=standing.link.reconnects,
        connect_attempts=standing.link.attempts,
        consecutive_failures=standing.breaker.failures,
        breaker=_breaker(publisher, parts.clock),
        retry_queue=RetryQueue(
            messages=None if waiting is None else waiting.messages,
            oldest_s=None if waiting is None else _age_s(waiting, parts.clock),
            in_flight=counts.in_flight,
        ),
        confirm_timeouts=counts.confirm_timeouts,
        probe_failures=counts.probe_failures,
        last_error=counts.last_error,
    )


def _breaker(publisher: ReliablePublisher, clock: Clock) -> BreakerHealth:
    breaker = publisher.standing.breaker
    closes = breaker.may_close_at
    return BreakerHealth(
        state=breaker.state, may_close_at=None if closes is None else _moment(publisher, closes, clock)
    )


def _age_s(waiting: OutboxLag, clock: Clock) -> float | None:
    return None if waiting.oldest is None else (clock.now() - waiting.oldest).total_seconds()


def _moment(publisher: ReliablePublisher, moment: float, clock: Clock) -> datetime:
    """The time of day of a moment of the standing."""
    return clock.now() - timedelta(seconds=publisher.age_s(moment))
