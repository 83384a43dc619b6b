"""What a provider bills is in the ledger's books, whoever dies: the invoices never come to more than what is counted.

In this ledger `settled` includes `overrun`, so what is compared is settled + held + unconfirmed alone, call by call.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg
import httpx
import pytest

from millrace.contracts.events import CostSpend
from millrace.embedded.readyfile import Addresses
from millrace.errors import Refusal
from millrace.ids import RequestId
from millrace.ledger.client import LedgerClient
from millrace.money import ZERO, MicroUSD, micro_usd
from tests.integration.billing import (
    ACCOUNT,
    HOLD,
    SCOPE,
    Books,
    Plan,
    Provider,
    books,
    dear,
    mixed,
    pay,
    provider,
)
from tests.integration.ledger import TestLedger, ledger
from tests.support.process import begin
from tests.support.waiting import eventually

CAP = 90_000
FIVE_MINUTES = timedelta(minutes=5)
HOLD_S = 8.0  # what a killed process leaves behind runs out within the test
SEED = 4


@pytest.fixture
async def fresh(stack: Addresses, unique: str, empty_database: str, tmp_path: Path) -> AsyncIterator[TestLedger]:
    """A ledger without workers; the day's cap alone, so that no hour's end makes room during the test."""
    budgets = f'[default.{SCOPE}]\nday = "{Decimal(CAP) / 1_000_000}"\n'
    async with ledger(stack, unique, empty_database, tmp_path, budgets) as made:
        yield made


@contextmanager
def callers(
    made: TestLedger, provider: Provider, name: str, calls: int, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in which a dozen callers make so many calls each; killed at the end."""
    plan = Plan(made.stack.kafka, made.stack.registry, made.prefix, provider.url, name, 12, calls, HOLD_S)
    process = begin((sys.executable, "-m", "tests.integration.billing"), log, plan.env())
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


async def look(made: TestLedger, provider: Provider) -> Books:
    """Compare at this moment: the invoices are taken first, since each was preceded by its durable grant."""
    invoices = dict(provider.invoices)
    found = books(await made.decisions())
    found.check(invoices, CAP)
    return found


async def nothing_held(made: TestLedger, provider: Provider) -> Books:
    """The books once the killed process's holds have run out."""
    async with asyncio.timeout(30):
        while True:
            found = await look(made, provider)
            if all(line.state != "held" for line in found.lines.values()):
                return found


async def spend_of_the_day(made: TestLedger, settled: int) -> CostSpend:
    """The day's row of the spend topic, once so much is settled and nothing else is left."""
    async with asyncio.timeout(20):
        while True:
            rows = [row for key, row in (await made.spend()).items() if key[:3] == (ACCOUNT, SCOPE, "day")]
            if len(rows) == 1 and (rows[0].settled_micro_usd, rows[0].held_micro_usd) == (settled, 0):
                return rows[0]


async def reconcile(client: LedgerClient, provider: Provider, request_id: str) -> None:
    """Settle a call to what the provider's invoice says; what it never billed is settled to nothing."""
    actual = micro_usd(provider.invoices.get(request_id, Decimal(0)))
    decided = await client.reconcile(RequestId(request_id), account=ACCOUNT, scope=SCOPE, actual=actual)
    assert (decided.outcome, decided.actual_micro_usd) == ("reconciled", actual)


async def test_invoices_never_exceed_the_books_whoever_is_killed(fresh: TestLedger, tmp_path: Path) -> None:
    worker = fresh.start()
    await worker.ready()
    async with provider(mixed(SEED)) as bills:
        billed = bills.invoices
        with (
            callers(fresh, bills, "killed", 1_000, tmp_path / "killed.log") as killed,
            callers(fresh, bills, "lives", 12, tmp_path / "lives.log") as lives,
        ):
            await eventually(lambda: {one.split("-")[0] for one in billed} == {"killed", "lives"}, "both to call", 30)
            await eventually(lambda: len(billed) > 20, "calls to be billed", 30)
            killed.kill()
            assert killed.wait(10) == -signal.SIGKILL, "it was still calling"
            assert lives.poll() is None
            worker.signal(signal.SIGKILL)
            await worker.ended()
            await look(fresh, bills)
            await fresh.start().ready()
            while lives.poll() is None:
                await look(fresh, bills)
            assert lives.returncode == 0, (tmp_path / "lives.log").read_text()

        found = await nothing_held(fresh, bills)
        assert found.peak > CAP * 0.9, "the budget was really contended"
        assert any(line.expired and one.startswith("killed") for one, line in found.lines.items())
        assert_fates(bills, found)

        unconfirmed = [request_id for request_id, line in found.lines.items() if line.state == "unconfirmed"]
        async with fresh.client() as client:
            for request_id in unconfirmed:
                await reconcile(client, bills, request_id)
        after = await look(fresh, bills)
    settled = {request_id: line.counted for request_id, line in after.lines.items() if line.counted}
    assert settled == {request_id: micro_usd(dollars) for request_id, dollars in billed.items()}
    spent = sum(settled.values())
    assert 0 < spent - sum(billed.values()) * 1_000_000 < len(billed), "each call is rounded up to a micro-dollar"
    row = await spend_of_the_day(fresh, spent)
    assert (row.unconfirmed_micro_usd, row.overrun_micro_usd) == (0, 0)


def assert_fates(bills: Provider, found: Books) -> None:
    """What each call's end is in the books, before anything is reconciled; those of the killed may be unconfirmed."""
    ends = {"answered": "settled", "busy": "released", "dropped": "unconfirmed", "slow": "unconfirmed"}
    survived = {request_id: fate for request_id, fate in bills.fates.items() if request_id.startswith("lives")}
    assert set(survived.values()) == set(ends), "every way to end was taken"
    states = {request_id: found.lines[request_id].state for request_id in survived}
    late = [request_id for request_id, fate in survived.items() if states[request_id] != ends[fate]]
    # A caller whose patience ran out although the provider answered: the machine was busy.
    assert all(states[request_id] == "unconfirmed" for request_id in late), {one: states[one] for one in late}
    assert len(late) < len(survived) / 4


async def test_what_is_billed_above_the_holds_is_reported_and_blocks_further_grants(fresh: TestLedger) -> None:
    await fresh.start().ready()
    calls = CAP // HOLD
    async with (
        provider(dear) as bills,
        httpx.AsyncClient(timeout=30) as http,
        fresh.client() as client,
    ):
        # Nobody loses patience: on a busy machine all these calls at once take their time.
        paying = (pay(client, http, bills.url, f"dear-{n}", 60, patience_s=30) for n in range(calls * 2))
        grants = await asyncio.gather(*paying)
        refused = await client.reserve(
            RequestId("one-more"), account=ACCOUNT, scope=SCOPE, amount=MicroUSD(1), hold_for=FIVE_MINUTES
        )
    decisions = [decision for _, decision in await fresh.decisions()]
    found = books(list(enumerate(decisions)))
    invoiced = sum(map(micro_usd, bills.invoices.values()))
    overruns = [decision.overrun_micro_usd for decision in decisions if decision.outcome == "settled"]

    assert sum(grants) == len(bills.invoices) == len(overruns)
    assert sum(found.used.values()) == invoiced > CAP, "settled in full, although it is above the cap"
    assert overruns == [invoiced // len(overruns) - HOLD] * len(overruns)
    assert isinstance(refused, Refusal)
    assert (refused.cap, refused.left_micro_usd) == (f"day:{SCOPE}", ZERO)
    row = await spend_of_the_day(fresh, invoiced)
    assert (row.overrun_micro_usd, row.cap_micro_usd) == (sum(overruns), CAP)
    assert await journaled_overrun(fresh) == sum(overruns)


async def journaled_overrun(made: TestLedger) -> int:
    """What the journal's entries say was billed above the holds."""
    connection = await asyncpg.connect(made.database)
    try:
        return int(await connection.fetchval("SELECT sum(overrun_change) FROM ledger_entries") or 0)
    finally:
        await connection.close()
