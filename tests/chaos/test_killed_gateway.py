"""A gateway killed again and again under load: each share is worked on once, also when it was asked for twice."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from typing import Final

import pytest

from millrace.embedded.services import GATEWAY
from tests.chaos.whole import WORDS, Whole, all_done, beginning, check, whole
from tests.e2e.apart import Apart
from tests.support.share_load import share_steadily

KILLS: Final = 10
RATE: Final = 10.0
SEED: Final = 7
DONE_WITHIN_S: Final = 240.0

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture
def made() -> Iterator[Whole]:
    """A stack of this test's own, and all services on it."""
    with whole() as all_services:
        yield all_services


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


async def test_a_gateway_killed_ten_times_loses_no_share_and_doubles_none(made: Whole) -> None:
    parts = made.parts
    async with asyncio.TaskGroup() as tasks:
        killing = tasks.create_task(kill_again_and_again(parts))
        loading = tasks.create_task(
            share_steadily(
                lambda: parts.gateway, rate=RATE, go_on=lambda: not killing.done(), repeat_within_s=240, words=WORDS
            )
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
    await all_done(made, ids, DONE_WITHIN_S)
    again = await asyncio.to_thread(check, made, {share: beginning(load.texts[share]) for share in ids})
    assert made.ended() == {}, "nobody but the gateway was killed"
    print(
        f"{KILLS} kills: {len(ids)} shares, {load.unanswered} requests without an answer, "
        f"{load.put_off} told to come again, came once more: {again}"
    )
