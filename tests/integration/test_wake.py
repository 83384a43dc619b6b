"""What a person lets go on again, beside workers and people that change the same rows; on the real database."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TypeAlias

import asyncpg
import pytest

from millrace.contracts.dead import DEAD_GATE
from millrace.money import MicroUSD
from millrace.store import gate_names
from millrace.store.cancel import cancel
from millrace.store.pool import open_pool
from millrace.store.waiting import Waiting, put, shut
from millrace.store.wake import try_now, wake_refused

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"  # generic in its stubs alone
CAP = "hour:summarize"


@pytest.fixture
async def pool(migrated: str) -> AsyncIterator[Pool]:
    async with open_pool(migrated) as opened:
        yield opened


async def park(pool: Pool, account: str, *, needed: int = 5, cap: str = CAP) -> str:
    """A share's job that waits for an hour behind its budget's gate."""
    share = uuid.uuid4().hex
    waiting = Waiting(
        timedelta(hours=1), "summarize", share, account, "t", b"", b"", gate=gate_names.budget_gate(account)
    )
    async with pool.acquire() as connection, connection.transaction():
        await shut(connection, waiting, None)
        await connection.execute(
            "UPDATE gates SET until = now() + interval '1 hour', cap = $1 WHERE name = $2", cap, waiting.gate
        )
        await connection.execute(
            """
            INSERT INTO jobs (share_id, stage, account, state, cap, needed_micro_usd)
            VALUES ($1, 'summarize', $2, 'parked', $3, $4)
            """,
            *(share, account, cap, needed),
        )
        await put(connection, waiting)
    return share


async def wake(pool: Pool, account: str, room: int | None = None) -> int:
    async with pool.acquire() as connection, connection.transaction():
        return await wake_refused(connection, account, "summarize", "hour", None if room is None else MicroUSD(room))


async def due(pool: Pool, *accounts: str) -> set[str]:
    rows = await pool.fetch("SELECT share_id FROM waiting WHERE account = ANY($1) AND due <= now()", accounts)
    return {row["share_id"] for row in rows}


async def is_open(pool: Pool, gate: str) -> bool:
    sql = "SELECT until <= now() AND moved_at < now() - interval '1 year' FROM gates WHERE name = $1"
    return bool(await pool.fetchval(sql, gate))


async def blocked_by(pool: Pool, holder: int) -> None:
    """Somebody waits for what a connection has locked."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))"
    async with asyncio.timeout(10):
        while await pool.fetchval(sql, holder) is None:  # noqa: ASYNC110  # rows have no events
            await asyncio.sleep(0.01)


async def test_a_raised_cap_opens_its_gate_and_wakes_what_fits(pool: Pool, unique: str) -> None:
    fits, too_dear = await park(pool, unique), await park(pool, unique, needed=9)
    by_day = await park(pool, f"{unique}-2", cap="day:summarize")
    assert await wake(pool, unique, 5) == 1
    assert await due(pool, unique) == {fits}
    assert await is_open(pool, gate_names.budget_gate(unique))
    assert await wake(pool, unique) == 1
    assert await due(pool, unique) == {fits, too_dear}
    assert await wake(pool, f"{unique}-2") == 0
    assert by_day not in await due(pool, f"{unique}-2")
    assert not await is_open(pool, gate_names.budget_gate(f"{unique}-2"))


async def test_the_cap_of_default_wakes_all_accounts(pool: Pool, unique: str) -> None:
    shares = {await park(pool, f"{unique}-{number}") for number in range(3)}
    assert await wake(pool, "default") >= 3
    assert await due(pool, *(f"{unique}-{number}" for number in range(3))) == shares


async def test_a_woken_budget_and_a_cancelled_share_do_not_lock_one_another_out(pool: Pool, unique: str) -> None:
    share, other = await park(pool, unique), await park(pool, unique)
    async with pool.acquire() as person, person.transaction():
        # As far as a cancellation comes first.
        await person.execute("SELECT FROM gates WHERE name = $1 FOR UPDATE", gate_names.budget_gate(unique))
        waking = asyncio.create_task(wake(pool, unique))
        await blocked_by(pool, person.get_server_pid())
        assert [job.state for job in await cancel(person, share)] == ["cancelled"]
    assert await waking == 1
    assert await due(pool, unique) == {other}


async def test_two_who_wake_the_same_gates_wait_for_one_another(pool: Pool, unique: str) -> None:
    accounts = [f"{unique}-{number}" for number in range(20)]
    for account in reversed(accounts):
        await park(pool, account)
    await asyncio.gather(*(wake(pool, account) for account in ["default", *accounts, "default"]))
    assert len(await due(pool, *accounts)) == len(accounts)


async def test_a_gate_is_tried_at_once(pool: Pool, unique: str) -> None:
    await pool.execute(
        "INSERT INTO gates (stage, name, until, allowed, closings) VALUES ($1, $2, now() + interval '1 h', 1, 1)",
        *(unique, DEAD_GATE),
    )
    async with pool.acquire() as connection:
        await try_now(connection, unique, DEAD_GATE)
    sql = "SELECT until <= now() AND moved_at < now() - interval '1 year' FROM gates WHERE stage = $1"
    assert await pool.fetchval(sql, unique)
