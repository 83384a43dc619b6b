"""The ledger's journal in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from millrace.errors import ConfigurationError
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from services.cost_ledger.journal import Journal
from services.cost_ledger.rows import WindowKey, WindowRow
from services.cost_ledger.spend import NOT_STARTED, Decided, Done
from tests.unit.ledger.build import Partition, request, reserve, set_cap, settle


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    migrate(empty_database)
    async with open_pool(empty_database, size=2) as opened:
        yield opened


def decided(ledger: Partition) -> list[Decided]:
    answers = [decision for decision in ledger.decisions if decision.outcome != "day-opened"]
    return [Decided(0, 2 * index, decision) for index, decision in enumerate(answers)]


async def test_the_views_have_the_cores_sums_however_often_entries_arrive(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    ledger, journal = Partition(), Journal(pool)
    ledger.ask(set_cap("hour", 1000), reserve("1", 300), reserve("2", 200, scope="embed"), reserve("3", 600))
    ledger.ask(settle("1", 350), request("unknown", "2"), reserve("4", 5000), settle("1", 9))
    entries = decided(ledger)

    assert await journal.done(0) == NOT_STARTED
    await journal.write(entries[:5])
    await journal.write(entries)

    assert await journal.done(0) == Done(entries[-1].decision.request_offset, entries[-1].offset)
    truth = {k: r for k, r in ledger.state.rows.items() if isinstance(k, WindowKey) and isinstance(r, WindowRow)}
    for window, view in (("hour", "ledger_hourly"), ("day", "ledger_daily")):
        rows = await pool.fetch(f"SELECT * FROM {view}")  # noqa: S608  # a constant
        seen = {
            (row["account"], row["scope"]): (
                row["settled_micro_usd"],
                row["held_micro_usd"],
                row["unconfirmed_micro_usd"],
                row["overrun_micro_usd"],
                row["calls"],
            )
            for row in rows
        }
        core = {(k.account, k.scope): tuple(r) for k, r in truth.items() if k.window == window}
        assert seen == core


async def test_the_newest_cap_is_in_force(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    ledger, journal = Partition(), Journal(pool)
    ledger.ask(set_cap("hour", 1000))
    ledger.now += 1000
    ledger.ask(set_cap("hour", 500), set_cap("hour", None, account="a", mode="warn"))
    await journal.write(decided(ledger))

    rows = await pool.fetch("SELECT account, cap_micro_usd, mode FROM ledger_caps WHERE scope = 'transcribe'")

    assert {tuple(row) for row in rows} == {("default", 500, "enforce"), ("a", None, "warn")}


async def test_entries_are_final(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    ledger = Partition()
    await Journal(pool).write(decided(ledger))

    for statement in ("UPDATE ledger_entries SET amount_micro_usd = 0", "DELETE FROM ledger_entries"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await pool.execute(statement)


async def test_a_journal_of_another_log_is_refused(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    one, other, journal = Partition(), Partition(), Journal(pool)
    one.ask(reserve("1", 10))
    other.ask(reserve("2", 10))
    await journal.write(decided(one))

    with pytest.raises(ConfigurationError, match="another log"):
        await journal.write(decided(other))
