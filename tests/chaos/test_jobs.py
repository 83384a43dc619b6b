"""Workers of a real stage, its broker and its database are hurt: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.chaos.audit import Auditor
from tests.chaos.jobs import BASIC_MINUTES, run
from tests.chaos.jobs_parts import QUICK_S, Stage, calls_of, open_stage, submit
from tests.chaos.target import LINKS
from tests.chaos.worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

TEXTS, SUBMISSIONS = 100, 10_000
WITHIN_S = 240.0


@pytest.fixture(scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One stack; every test has an account of its own."""
    async with open_stage(tmp_path_factory.mktemp("jobs")) as made:
        yield made


@pytest.mark.parametrize("seed", [1])
async def test_no_share_and_no_money_is_lost_whatever_happens_to_the_workers(stage: Stage, seed: int) -> None:
    report = await run(stage, seed, BASIC_MINUTES)
    assert report.ok, report


async def test_a_stage_that_is_not_our_own_is_as_safe(tmp_path_factory: pytest.TempPathFactory) -> None:
    async with open_stage(tmp_path_factory.mktemp("links"), LINKS) as made:
        report = await run(made, 4, BASIC_MINUTES)
    assert report.ok, report


async def test_ten_thousand_submissions_of_a_hundred_texts_are_a_hundred_paid_works(stage: Stage) -> None:
    """Half of them are the same share again, half are other shares with the same text."""
    stage.provider.delay_s = lambda _: sum(QUICK_S) / 2
    billed_before = len(stage.provider.invoice)
    texts = [str(uuid.uuid4()) for _ in range(TEXTS)]
    rounds = [texts if number % 2 else [str(uuid.uuid4()) for _ in texts] for number in range(SUBMISSIONS // TEXTS)]
    shares = {share: text for batch in rounds for share, text in zip(batch, texts, strict=True)}
    auditor = Auditor(stage.stack, stage.codec, stage.target, account="many")
    workers = [
        Worker("services.summarize_agent", stage.environment(), stage.folder / f"many-{number}.log")
        for number in range(2)
    ]
    try:
        for batch in rounds:
            await asyncio.gather(*(submit(stage, share, shares[share], "many") for share in batch))
        deadline = time.monotonic() + WITHIN_S
        while not await auditor.settled(len(shares)) and time.monotonic() < deadline:  # noqa: ASYNC110 - the parts' own
            await asyncio.sleep(1)
    finally:
        for worker in workers:
            worker.end()
    billed = calls_of(stage.provider.invoice[billed_before:])
    verdict = await auditor.verdict(list(shares), stage.invoice_micro_usd(since=billed_before))
    auditor.close()

    assert verdict.violations == []
    assert billed == Counter(dict.fromkeys(texts, 1))
    assert len(set(auditor.works().values())) == TEXTS
