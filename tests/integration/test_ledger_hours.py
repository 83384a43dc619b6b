"""An hour and a day end while callers fight for a budget, on the real broker."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from millrace.embedded.readyfile import Addresses
from millrace.errors import Refusal
from millrace.ledger.client import LedgerClient
from tests.integration.ledger import PARTITIONS, TestLedger, audit, ledger
from tests.support.ledger_asking import BUDGETS, CAP, ask, new_id, usd
from tests.support.waiting import eventually

DAY_MS = 86_400_000
BEFORE_S = 8.0
ACCOUNTS = ("hours-0", "hours-1", "hours-2")
MIDNIGHT_OPENS = "day-opened"


@pytest.fixture
async def contended(stack: Addresses, unique: str, empty_database: str, tmp_path: Path) -> AsyncIterator[TestLedger]:
    """A ledger without workers."""
    async with ledger(stack, unique, empty_database, tmp_path, BUDGETS) as made:
        yield made


@pytest.mark.timeout(180)
async def test_midnight_under_load_opens_new_budgets_and_closes_the_old_ones(contended: TestLedger) -> None:
    plain = contended.start()
    await plain.ready()  # a first one, so that the shifted ones need little time to be ready
    plain.process.kill()
    await plain.ended()
    now_ms = int(time.time() * 1000)
    ready_in_ms = 25_000
    midnight_ms = (now_ms // DAY_MS + 2) * DAY_MS
    midnight = datetime.fromtimestamp(midnight_ms / 1000, UTC)
    shift_ms = midnight_ms - now_ms - ready_in_ms - int(BEFORE_S * 1000)
    workers = [contended.start(later_ms=shift_ms) for _ in range(2)]
    await asyncio.gather(*(worker.ready() for worker in workers))

    def log_ms() -> float:
        return time.time() * 1000 + shift_ms

    chance = random.Random(6)  # noqa: S311  # the same flood every time
    asked: Counter[bool] = Counter()
    refused = dict.fromkeys(ACCOUNTS, False)  # by a budget of the new day

    async def calls(client: LedgerClient, account: str) -> None:
        while not refused[account]:
            request_id = new_id()
            answer = await ask(client, account, chance.randint(1, 20_000), request_id)
            asked[log_ms() >= midnight_ms] += 1
            if isinstance(answer, Refusal):
                refused[account] = refused[account] or (answer.room_at is not None and answer.room_at > midnight)
                continue
            if chance.random() < 0.5:
                await client.release(request_id, account=account, scope="transcribe")
            else:  # settled late: what was held before midnight belongs to the old day, whenever it is settled
                await asyncio.sleep(chance.random())
                actual = usd(chance.randint(0, answer.amount))
                await client.settle(request_id, account=account, scope="transcribe", actual=actual)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(contended.client()) for _ in range(2)]
        await eventually(lambda: log_ms() > midnight_ms - BEFORE_S * 1000, "shortly before midnight", 60)
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                for account in ACCOUNTS:
                    for _ in range(8):
                        tasks.create_task(calls(client, account))

    assert min(asked[False], asked[True]) > 100, "callers asked on both sides of midnight"
    decisions = await contended.decisions()
    found = audit(decisions)
    for account in ACCOUNTS:
        peaks = {window[2]: peak for window, peak in found.peak.items() if window[0] == account and peak}
        before, after = sorted(peaks)
        assert (before < midnight.isoformat(), after) == (True, midnight.isoformat())
        assert all(0.95 * CAP < peak <= CAP for peak in peaks.values()), peaks
    late = [
        d for _, d in decisions if d.outcome == "settled" and d.decided_at > midnight > (d.hour_start or midnight)
    ]
    assert late, "some were held before midnight and settled after it"
    opened = {p for p, d in decisions if d.outcome == MIDNIGHT_OPENS and d.request_id == f"day:{midnight:%Y-%m-%d}"}
    assert len(opened) == len({p for p, d in decisions if d.account in ACCOUNTS}) <= PARTITIONS
    await _journal_has(contended, found.used, len([d for _, d in decisions if d.outcome != MIDNIGHT_OPENS]))


async def _journal_has(made: TestLedger, used: Counter[tuple[str, str, str]], entries: int) -> None:
    """The journal's hours, once it has every decision, are those of the answers."""
    connection = await asyncpg.connect(made.database)
    try:
        async with asyncio.timeout(60):
            while await connection.fetchval("SELECT count(*) FROM ledger_entries") < entries:  # noqa: ASYNC110  # rows have no events
                await asyncio.sleep(0.2)
        rows = await connection.fetch(
            "SELECT * FROM ledger_hourly WHERE account = ANY($1) AND scope <> 'total'", ACCOUNTS
        )
    finally:
        await connection.close()
    journal = {
        (row["account"], row["scope"], row["start"].isoformat()): row["settled_micro_usd"] + row["held_micro_usd"]
        for row in rows
    }
    assert journal == {window: amount for window, amount in used.items() if window[0] in ACCOUNTS}
