"""The gateway's producer as it shows itself, and a drainer that sends nothing while Kafka is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from millrace.cluster import Cluster
from millrace.embedded.readyfile import Addresses
from millrace.models.wordllama import WordLlamaModel
from millrace.store.migrate import migrate
from services.api_gateway.app import create_app
from services.api_gateway.connect import reliable
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.outbox import Drainer, enqueue
from services.api_gateway.ports import OutboxMessage, OutboxRow
from services.api_gateway.producer import KafkaPublisher
from tests.integration.gateway import Gateway, open_gateway, provision
from tests.support.waiting import eventually

NOBODY = "127.0.0.1:1"
HEALTH = "/api/ml/analytics/health"


@pytest.fixture
async def gateway(stack: Addresses, empty_database_migrated: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    await provision(stack)
    async with open_gateway(stack, empty_database_migrated, tmp_path, WordLlamaModel()) as opened:
        yield opened


@pytest.fixture
async def empty_database_migrated(empty_database: str) -> str:
    """A database with no outbox but this test's own."""
    await asyncio.to_thread(migrate, empty_database)
    return empty_database


@dataclass
class Slow:
    """A broker behind a gate that the test opens; remembers what it was sent."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[int] = field(default_factory=list)
    failing: bool = False

    async def opened(self) -> None:
        await self.open.wait()

    async def publish(self, rows: Sequence[OutboxRow]) -> Sequence[str | None]:
        self.sent += [row.seq for row in rows]
        return ["timed out" if self.failing else None] * len(rows)


@asynccontextmanager
async def draining(drainer: Drainer) -> AsyncIterator[None]:
    task = asyncio.create_task(drainer.run())
    try:
        yield
    finally:
        drainer.stop()
        await asyncio.wait_for(task, 10)


async def write(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    async with pool.acquire() as connection:
        await enqueue(connection, OutboxMessage("media.dead", b"k", b"v", {}))


async def health(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get(HEALTH)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_gateway_says_how_its_producer_stands_and_whether_it_drains(gateway: Gateway) -> None:
    await asyncio.wait_for(gateway.parts.publisher.opened(), 15)
    await write(gateway.pool)
    found = await health(gateway.http)
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(found.pop("since")) < timedelta(minutes=1)
    assert 0 <= found["retry_queue"].pop("oldest_s") < 60
    assert found == {
        "state": "connected",
        "drains": False,
        "alarm": False,
        "reconnects": 0,
        "connect_attempts": 0,
        "consecutive_failures": 0,
        "breaker": {"state": "closed", "may_close_at": None},
        "retry_queue": {"messages": 1, "in_flight": 0},
        "confirm_timeouts": 0,
        "probe_failures": 0,
        "last_error": None,
    }
    async with draining(gateway.parts.drainer):

        async def drained() -> bool:
            now = await health(gateway.http)
            return bool(now["drains"] and now["retry_queue"] == {"messages": 0, "oldest_s": None, "in_flight": 0})

        await eventually(drained, "the outbox to be empty")
    assert (await health(gateway.http))["drains"] is False


async def test_a_gateway_whose_kafka_is_nobody_says_so_and_still_counts_the_outbox(gateway: Gateway) -> None:
    away = reliable(KafkaPublisher(Cluster(NOBODY), max_message_bytes=1_000_000))
    probing = asyncio.create_task(away.run())
    app = create_app(replace(gateway.parts, publisher=away), LOOPBACK)
    await write(gateway.pool)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        await eventually(lambda: away.counts.probe_failures, "a probe to fail", 20)
        found = await health(http)
        metrics = (await http.get("/metrics")).text
    await away.close()
    await asyncio.wait_for(probing, 10)
    assert found["state"] in ("disconnected", "connecting")
    assert (found["connect_attempts"] >= 1, found["probe_failures"] >= 1) == (True, True)
    assert found["last_error"]
    assert found["retry_queue"]["messages"] == 1
    assert 'ml_producer_breaker_state{state="closed"} 1.0' in metrics
    for name in ("connection_state", "retry_queue_size", "confirm_timeouts_total", "publish_latency_seconds_count"):
        assert f"ml_producer_{name}" in metrics
    (line,) = (line for line in metrics.splitlines() if line.startswith("ml_producer_probe_failures_total "))
    assert float(line.split()[1]) >= 1


async def test_what_is_new_sends_nothing_while_kafka_is_away(gateway: Gateway) -> None:
    broker = Slow()
    drainer = Drainer(gateway.pool, broker, broker)
    async with draining(drainer):
        await eventually(lambda: drainer.drains, "it to drain")
        for _ in range(20):
            await write(gateway.pool)
            drainer.wake()
            await asyncio.sleep(0)
        assert broker.sent == []
        broker.open.set()
        await eventually(lambda: len(broker.sent) == 20, "all to be sent once it is back")


async def test_what_is_new_does_not_hurry_a_broker_that_has_just_failed(gateway: Gateway) -> None:
    broker = Slow(failing=True)
    broker.open.set()
    drainer = Drainer(gateway.pool, broker, broker, jitter=lambda: 1.0)
    await write(gateway.pool)
    async with draining(drainer):
        await eventually(lambda: broker.sent, "the first try")
        began = asyncio.get_running_loop().time()
        first = len(broker.sent)

        async def second() -> bool:
            drainer.wake()
            return len(broker.sent) > first

        await eventually(second, "the second try")
        assert asyncio.get_running_loop().time() - began > 1.0, "1.3 s, whatever is new"
        broker.failing = False
        await eventually(lambda: gateway.pool.fetchval("SELECT count(*) = 0 FROM outbox"), "it to be sent")
