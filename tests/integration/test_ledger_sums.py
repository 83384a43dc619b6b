"""The sums that are kept beside the journal's entries, in a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final

import asyncpg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, make_url

from benchmarks.spending import Spending
from millrace.errors import ConfigurationError
from millrace.store.migrate import migrate
from millrace.store.pool import open_pool
from millrace.store.version import MIGRATIONS
from services.cost_ledger import sums
from services.cost_ledger.audit import Differences
from services.cost_ledger.journal import COLUMNS, Journal, entry
from services.cost_ledger.spend import Decided
from tests.support.waiting import eventually

NOW: Final = datetime(2031, 5, 14, 17, 42, tzinfo=UTC)


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[asyncpg.Pool[asyncpg.Record]]:
    migrate(empty_database)
    async with open_pool(empty_database, size=4) as opened:
        yield opened


def decisions(entries: int, *, seed: int = 3) -> list[Decided]:
    """Of some hours, so that many entries are in each sum."""
    return [Decided(*one) for one in Spending(NOW, days=1, seed=seed).decisions(entries)]


async def differences(pool: asyncpg.Pool[asyncpg.Record]) -> Differences:
    found = Differences()
    async with pool.acquire() as connection:
        await sums.compare(connection, found)
    return found


async def settled(pool: asyncpg.Pool[asyncpg.Record], table: str) -> int:
    return int(await pool.fetchval(f"SELECT sum(settled)::bigint FROM {table}"))  # noqa: S608  # constants


async def test_sums_are_those_of_the_entries_however_often_they_arrive(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    journal, entries = Journal(pool), decisions(600)
    await journal.write(entries[:400])
    await journal.write(entries[200:])
    await journal.write(entries)
    whole = await pool.fetchval("SELECT sum(settled_change)::bigint FROM ledger_entries")
    assert whole > 1_000_000
    assert await settled(pool, "ledger_costs") == await settled(pool, "ledger_use") == whole
    assert await pool.fetchval("SELECT count(*) FROM ledger_costs") < 400, "many entries are in one sum"
    assert await pool.fetchval("SELECT count(*) FROM ledger_use WHERE share_id = ''") > 0, "searches have no share"
    assert (await differences(pool)).count == 0


async def test_several_may_write_the_same_entries(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    """Before and after a rebalance two recorders may have the same partition."""
    journal, entries = Journal(pool), decisions(1_200)
    batches = [entries[start : start + 60] for start in range(0, len(entries), 60)]

    async def written(order: list[list[Decided]]) -> None:
        for batch in order:
            await journal.write(batch)

    await asyncio.gather(written(batches), written(batches[::-1]), written(batches))
    assert await pool.fetchval("SELECT count(*) FROM ledger_entries") == len(entries)
    assert (await differences(pool)).count == 0


async def test_two_that_have_the_same_entries_in_another_order_do_not_wait_for_each_other(
    pool: asyncpg.Pool[asyncpg.Record],
) -> None:
    journal, three = Journal(pool), decisions(12)[:3]

    async def two_wait() -> bool:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(await pool.fetchval(waiting) == 2)

    async with pool.acquire() as connection:
        between = connection.transaction()
        await between.start()
        await append(connection, three[1:2])
        first, other = asyncio.create_task(journal.write(three)), asyncio.create_task(journal.write(three[::-1]))
        await eventually(two_wait, "both to wait")
        await between.rollback()
    await asyncio.gather(first, other)
    assert await pool.fetchval("SELECT count(*) FROM ledger_entries") == 3
    assert (await differences(pool)).count == 0


async def append(connection: asyncpg.Connection | sums.Connection, entries: Sequence[Decided]) -> None:
    await connection.copy_records_to_table(
        "ledger_entries", records=[entry(*one) for one in entries], columns=COLUMNS.split(", ")
    )


async def test_what_is_refused_is_in_no_sum(pool: asyncpg.Pool[asyncpg.Record]) -> None:
    journal = Journal(pool)
    await journal.write(decisions(100))
    before = await settled(pool, "ledger_costs")
    with pytest.raises(ConfigurationError, match="another log"):
        await journal.write(decisions(300, seed=4))
    assert await settled(pool, "ledger_costs") == await settled(pool, "ledger_use") == before
    assert (await differences(pool)).count == 0


def migrated_to(database: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(make_url(database).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


async def test_entries_from_before_there_were_sums_are_in_them(empty_database: str) -> None:
    await asyncio.to_thread(migrated_to, empty_database, "0021")
    connection = await asyncpg.connect(empty_database)
    entries = decisions(400)
    await append(connection, entries[:300])
    await connection.close()
    await asyncio.to_thread(migrate, empty_database)
    async with open_pool(empty_database, size=2) as pool:
        await Journal(pool).write(entries)
        assert await settled(pool, "ledger_costs") == await settled(pool, "ledger_use") > 0
        assert (await differences(pool)).count == 0


@pytest.mark.parametrize(
    ("statement", "place", "rows"),
    [
        ("UPDATE ledger_costs SET held = held + 1 WHERE scope = 'embed'", "ledger_costs", None),
        ("DELETE FROM ledger_costs WHERE scope = 'search'", "ledger_costs", None),
        ("INSERT INTO ledger_use VALUES (now(), 'nobody', 'forged', now(), 7, 1)", "ledger_use", 1),
        ("UPDATE ledger_use SET calls = calls - 1 WHERE share_id = ''", "ledger_use", None),
    ],
)
async def test_wrong_sums_are_found_and_mended(
    pool: asyncpg.Pool[asyncpg.Record], statement: str, place: str, rows: int | None
) -> None:
    await Journal(pool).write(decisions(300))
    broken = int((await pool.execute(statement)).rpartition(" ")[2])
    assert broken == (rows or broken) > 0
    found = await differences(pool)
    assert found.count == broken
    assert {one.place for one in found.shown} == {place}
    async with pool.acquire() as connection, connection.transaction():
        assert await sums.mend(connection) == {"ledger_costs": 0, "ledger_use": 0, place: broken}
    assert (await differences(pool)).count == 0
