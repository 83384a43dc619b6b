"""One of three brokers is killed under load: nothing is lost or done twice, and work goes on within half a minute.

The brokers speak TLS, ask for passwords and heed rights. `MILLRACE_BROKER_LOSS_S=60` lets the load go on so long with
a broker away (15 s by default), `MILLRACE_BROKER_SEED` chooses the broker.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest

from tests.chaos.whole import STAGES, WORDS, Whole, all_done, beginning, check, whole
from tests.support.share_load import share_steadily

AWAY_S: Final = float(os.environ.get("MILLRACE_BROKER_LOSS_S", "15"))
SEED: Final = int(os.environ.get("MILLRACE_BROKER_SEED", "1"))
RATE: Final = 10.0
"""Shares a second. With fifty, three brokers and all services let a request wait for more than 10 s on two cores."""
BEFORE_S: Final = 5.0
BACK_WITHIN_S: Final = 30.0
"""The longest that nothing may come to an end after the kill, by feature I4."""
DONE_WITHIN_S: Final = 120 + RATE * AWAY_S / 3

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(AWAY_S + DONE_WITHIN_S + 300)]


@pytest.fixture(scope="module")
def made() -> Iterator[Whole]:
    with whole(brokers=True) as all_services:
        yield all_services


async def test_a_broker_that_is_killed_under_load_costs_nothing_but_seconds(made: Whole) -> None:
    brokers = made.parts.brokers
    assert brokers is not None
    async with made.supervised() as ended:
        leaving = asyncio.create_task(lose_one(made))
        load = await share_steadily(
            lambda: made.parts.gateway, rate=RATE, go_on=lambda: not leaving.done(), words=WORDS
        )
        brokers.tend()
        assert (load.unanswered, load.put_off) == (0, 0)
        texts = {share: beginning(load.texts[share]) for share in load.share_ids}
        await all_done(made, load.share_ids, DONE_WITHIN_S)
        again = await asyncio.to_thread(check, made, texts)
    stalls = {stage: longest_stall(made, stage, leaving.result()) for stage in STAGES}
    assert max(stalls.values()) < BACK_WITHIN_S, stalls
    assert {name for name, _ in ended} <= {"cost_ledger"}, "all others wait for Kafka: see docs/ledger.md"
    assert brokers.refusals() == []
    print(f"{len(texts)} shares, longest stall {stalls}, came once more: {again}, ended: {ended}")


async def lose_one(made: Whole) -> datetime:
    """Kill a broker after a while, and wait; when it was killed."""
    assert made.parts.brokers is not None
    await asyncio.sleep(BEFORE_S)
    made.parts.brokers.kill_one(random.Random(SEED))  # noqa: S311 - repeatable, not secret
    killed = datetime.now(UTC)
    await asyncio.sleep(AWAY_S)
    return killed


def longest_stall(made: Whole, stage: str, since: datetime) -> float:
    """The longest time after the kill in which no job of a stage was done, in seconds."""
    rows = made.parts.sql(
        """
        SELECT max(extract(epoch FROM next_at - at))::float8 AS longest
          FROM (SELECT at, lead(at) OVER (ORDER BY at) AS next_at
                  FROM (SELECT finished_at AS at FROM work WHERE stage = %s AND finished_at > %s
                        UNION ALL SELECT %s::timestamptz) times) gaps
        """,
        stage,
        since,
        since,
    )
    longest = rows[0]["longest"]
    assert isinstance(longest, float), "nothing was done after it"
    return longest
