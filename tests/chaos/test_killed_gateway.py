"""A gateway killed again and again under load: what was answered is there once, what was not becomes one share."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, cast

import pytest

from millrace.embedded.services import GATEWAY
from tests.e2e.apart import Apart, apart
from tests.support.kafka import read_all
from tests.support.share_load import share_steadily
from tests.support.waiting import eventually

KILLS: Final = 10
RATE: Final = 10.0
SEED: Final = 7

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture
def parts() -> Iterator[Apart]:
    """A stack of this test's own, and a gateway on it."""
    with apart({}, {}) as made:
        made.start((GATEWAY,))
        yield made


async def kill_again_and_again(parts: Apart) -> None:
    """kill -9 the gateway ten times, each time at another moment of its work, and start it as a supervisor would."""
    chance = random.Random(SEED)  # noqa: S311 - repeatable, not secret
    gateway = parts.workers[GATEWAY]
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.5, 2.0))
        gateway.signal(signal.SIGKILL)
        await gateway.ended()
        gateway.start_again()
        await gateway.ready()


async def test_a_gateway_killed_ten_times_loses_no_share_and_doubles_none(parts: Apart) -> None:
    async with asyncio.TaskGroup() as tasks:
        killing = tasks.create_task(kill_again_and_again(parts))
        loading = tasks.create_task(
            share_steadily(lambda: parts.gateway, rate=RATE, go_on=lambda: not killing.done(), repeat_within_s=240)
        )
    load = loading.result()
    assert load.unanswered > 0, "some requests were under way when it was killed"

    ids = load.share_ids
    assert len(set(ids)) == len(ids)
    rows = parts.sql("SELECT idempotency_key, share_id FROM shares")
    assert len(rows) == len(ids), "no request became two shares"
    assert {row["idempotency_key"]: row["share_id"] for row in rows} == {
        key: share_id for key, (share_id,) in load.accepted.items()
    }
    await eventually(lambda: not parts.sql("SELECT 1 FROM outbox LIMIT 1"), "the outbox to be empty", 60, every_s=0.5)
    events: dict[str, list[bytes]] = defaultdict(list)
    for message in read_all(parts.addresses.kafka, "share.created"):
        headers = dict(cast("list[tuple[str, bytes]]", message.headers() or []))
        events[(message.key() or b"").decode()].append(headers["ce_id"])
    assert {share_id: len(set(of)) for share_id, of in events.items()} == dict.fromkeys(ids, 1)
    twice = sum(map(len, events.values())) - len(ids)
    print(f"{KILLS} kills: {len(ids)} shares, {load.unanswered} requests without an answer, {twice} messages twice")
