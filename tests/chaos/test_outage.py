"""Kafka is away while shares come in: each is accepted, and on share.created once it is back, in order for its key.

`MILLRACE_OUTAGE_S=60` takes it away for a minute (10 s by default), `MILLRACE_OUTAGE_SEED` chooses how it goes first.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import httpx
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from millrace.store.pool import open_pool
from services.api_gateway.outbox import enqueue
from services.api_gateway.ports import OutboxMessage
from tests.chaos.outage import How, take_away
from tests.e2e.apart import Apart, apart
from tests.support.kafka import read_all
from tests.support.share_load import UNLIMITED, share_steadily
from tests.support.waiting import eventually

OUTAGE_S: Final = float(os.environ.get("MILLRACE_OUTAGE_S", "10"))
SEED: Final = int(os.environ.get("MILLRACE_OUTAGE_SEED", "1"))
RATE: Final = 50.0
BACK_WITHIN_S: Final = 150.0
"""For the supervisor, who waits up to 30 s before it starts what crashes, for the broker, and for the outbox."""
KEYS: Final = 20

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(2 * OUTAGE_S + 2 * BACK_WITHIN_S + 240)]


def ways() -> list[How]:
    found: list[How] = ["killed", "stopped"]
    random.Random(SEED).shuffle(found)  # noqa: S311 - repeatable, not secret
    return found


@pytest.fixture(scope="module")
def parts() -> Iterator[Apart]:
    """A stack of this module's own, and a gateway on it."""
    with apart(UNLIMITED, {}) as made:
        made.start(("api_gateway",))
        yield made


def new_topic(parts: Apart, name: str) -> str:
    admin = AdminClient({"bootstrap.servers": parts.addresses.kafka})
    for created in admin.create_topics([NewTopic(name, 4, 1)]).values():
        created.result(30)
    return name


@asynccontextmanager
async def numbered_messages(parts: Apart, topic: str) -> AsyncIterator[list[tuple[bytes, int]]]:
    """Write numbers into the outbox for a few keys, all the while; yields what was written."""
    written: list[tuple[bytes, int]] = []
    ended = asyncio.Event()

    async def write(pool: asyncpg.Pool[asyncpg.Record]) -> None:
        for number in itertools.count():
            key = b"key-%d" % (number % KEYS)
            async with pool.acquire() as connection:
                await enqueue(connection, OutboxMessage(topic, key, b"%d" % number, {}))
            written.append((key, number))
            if ended.is_set():  # not cancelled: that may come between a commit and our note of it
                return
            await asyncio.sleep(0.02)

    async with open_pool(parts.addresses.postgres, size=1) as pool:
        writing = asyncio.create_task(write(pool))
        try:
            yield written
        finally:
            ended.set()
            await asyncio.wait_for(writing, 30)


async def get(parts: Apart, path: str) -> Any:  # noqa: ANN401 - each route has a document of its own
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        return (await http.get(f"{parts.gateway}{path}")).json()


async def seen_while_away(parts: Apart) -> tuple[dict[str, Any], dict[str, Any]]:
    """What /readyz and the producer's health say once they have noticed."""

    async def ready() -> dict[str, Any] | None:
        found: dict[str, Any] = await get(parts, "/readyz")
        return found if found["status"] == "degraded" and found.get("outbox_messages") else None

    async def health() -> dict[str, Any] | None:
        found: dict[str, Any] = await get(parts, "/api/ml/analytics/health")
        return found if found["consecutive_failures"] and found["last_error"] else None

    readiness = await eventually(ready, "/readyz to be degraded", OUTAGE_S, every_s=0.2)
    return readiness, await eventually(health, "the producer to see it", OUTAGE_S, every_s=0.2)


async def nothing_waits(parts: Apart) -> None:
    async def empty() -> bool:
        found = await get(parts, "/api/ml/analytics/health")
        return bool(found["retry_queue"]["messages"] == 0 and found["state"] == "connected")

    await eventually(empty, "the outbox to be empty", BACK_WITHIN_S, every_s=0.5)


def firsts(parts: Apart, topic: str) -> tuple[dict[bytes, list[int]], int]:
    """For each key its numbers as they first came, and how many came once more."""
    found: dict[bytes, dict[int, None]] = defaultdict(dict)
    records = read_all(parts.addresses.kafka, topic)
    for message in records:
        found[message.key() or b""].setdefault(int(message.value() or b""))
    numbers = {key: list(of) for key, of in found.items()}
    return numbers, len(records) - sum(map(len, numbers.values()))


@pytest.mark.parametrize("how", ways())
async def test_every_accepted_share_is_published_after_an_outage(parts: Apart, how: How) -> None:
    topic = new_topic(parts, f"test.ordered-{how}")
    async with numbered_messages(parts, topic) as written:
        away = asyncio.create_task(take_away(how, OUTAGE_S))
        loading = asyncio.create_task(share_steadily(lambda: parts.gateway, rate=RATE, go_on=lambda: not away.done()))
        readiness, health = await seen_while_away(parts)
        await away
        load = await loading
    await nothing_waits(parts)

    assert readiness["outbox_oldest_s"] >= 0
    assert health["drains"] is True
    keys = [(message.key() or b"").decode() for message in read_all(parts.addresses.kafka, "share.created")]
    missing = set(load.share_ids) - set(keys)
    assert not missing, f"accepted, and not published: {len(missing)} of {len(load.share_ids)}"
    assert (load.unanswered, load.put_off) == (0, 0)
    numbers, repeated = firsts(parts, topic)
    for key in dict.fromkeys(key for key, _ in written):
        assert numbers[key] == [number for of, number in written if of == key], key
    twice = len(keys) - len(set(keys)) + repeated
    print(f"{how} {OUTAGE_S:.0f} s: {len(load.share_ids)} shares, p95 {load.p95_s() * 1000:.0f} ms, {twice} twice")
    assert load.p95_s() < OUTAGE_S / 2, "accepting does not wait for Kafka"
