"""Kafka is away while shares come in and all services work: each share is worked on, told and paid for exactly once.

`MILLRACE_OUTAGE_S=60` takes it away for a minute (6 s by default) under fifty shares a second (ten by default),
`MILLRACE_OUTAGE_SEED` chooses how it goes first.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from typing import Final

import pytest

from tests.chaos.outage import How, take_away
from tests.chaos.whole import WORDS, Whole, all_done, beginning, check, whole
from tests.support.share_load import Load, share_steadily

OUTAGE_S: Final = float(os.environ.get("MILLRACE_OUTAGE_S", "6"))
SEED: Final = int(os.environ.get("MILLRACE_OUTAGE_SEED", "1"))
RATE: Final = 50.0 if "MILLRACE_OUTAGE_S" in os.environ else 10.0
AROUND_S: Final = 2.0
"""Shares come in before and after it, too: work is under way when Kafka goes, and when it comes."""
DONE_WITHIN_S: Final = 120 + RATE * OUTAGE_S / 3
"""For the supervisor of the broker and everybody's back-off, and then three shares a second."""

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3 * (OUTAGE_S + DONE_WITHIN_S) + 240)]


def ways() -> list[How]:
    found: list[How] = ["killed", "stopped"]
    random.Random(SEED).shuffle(found)  # noqa: S311 - repeatable, not secret
    return found


@pytest.fixture(scope="module")
def made() -> Iterator[Whole]:
    with whole() as all_services:
        yield all_services


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """All that was shared on this stack."""
    return {}


async def load_around(made: Whole, how: How) -> Load:
    """Share before, while and after Kafka is away."""

    async def away() -> None:
        await asyncio.sleep(AROUND_S)
        await take_away(how, OUTAGE_S)
        await asyncio.sleep(AROUND_S)

    async with asyncio.TaskGroup() as tasks:
        leaving = tasks.create_task(away())
        loading = tasks.create_task(
            share_steadily(lambda: made.parts.gateway, rate=RATE, go_on=lambda: not leaving.done(), words=WORDS)
        )
    return loading.result()


@pytest.mark.parametrize("how", ways())
async def test_every_accepted_share_is_worked_on_once_after_an_outage(
    made: Whole, texts: dict[str, str], how: How
) -> None:
    async with made.supervised() as ended:
        load = await load_around(made, how)
        assert (load.unanswered, load.put_off) == (0, 0)
        texts |= {share: beginning(load.texts[share]) for share in load.share_ids}
        await all_done(made, load.share_ids, DONE_WITHIN_S)
        again = await asyncio.to_thread(check, made, texts)
    assert {name for name, _ in ended} <= {"cost_ledger"}, "all others wait for Kafka: see docs/ledger.md"
    print(f"{how} {OUTAGE_S:.0f} s: {len(load.share_ids)} shares, came once more: {again}, ended: {ended}")
