"""The peer: admission as a row lock in PostgreSQL, as most who need a hard cap would write it."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"  # generic in its stubs alone
SCHEMA = """
DROP TABLE IF EXISTS peer_holds;
DROP TABLE IF EXISTS peer_budgets;
CREATE TABLE peer_budgets (
    account text, scope text, "window" text, cap bigint NOT NULL, used bigint NOT NULL, calls bigint NOT NULL,
    PRIMARY KEY (account, scope, "window"));
CREATE TABLE peer_holds (request_id text PRIMARY KEY, account text, scope text, amount bigint, state text);
INSERT INTO peer_budgets SELECT 'hot', scope, "window", 1000000000000, 0, 0
  FROM unnest(array['transcribe', 'total']) AS scope, unnest(array['hour', 'day']) AS "window";
"""
_LOCK = """
SELECT cap, used FROM peer_budgets WHERE account = $1 AND scope IN ($2, 'total') ORDER BY scope, "window" FOR UPDATE
"""
# In one order: as the rows lie, which changes with every update, two admissions can wait for each other.
_HOLD = "INSERT INTO peer_holds VALUES ($1, $2, $3, $4, 'held')"
_COUNT = """
UPDATE peer_budgets SET used = used + $3, calls = calls + 1 WHERE account = $1 AND scope IN ($2, 'total')
"""


async def admit(connection: Connection, amount: int) -> bool:
    """One admission in one transaction: lock the sums, check the caps, hold."""
    async with connection.transaction():
        rows = await connection.fetch(_LOCK, "hot", "transcribe")
        if any(row["used"] + amount > row["cap"] for row in rows):
            return False
        await connection.execute(_HOLD, uuid.uuid4().hex, "hot", "transcribe", amount)
        await connection.execute(_COUNT, "hot", "transcribe", amount)
    return True


async def pool(url: str, size: int, *, durable: bool) -> asyncpg.Pool[asyncpg.Record]:
    """Connections; `durable`: an admission is on disk when it is answered, as PostgreSQL has it by default."""
    setting = {"synchronous_commit": "on" if durable else "off"}
    made = asyncpg.create_pool(url, min_size=size, max_size=size, server_settings=setting)
    return await made


async def flood(url: str, seconds: float, *, connections: int, durable: bool) -> float:
    """Admissions a second with every connection busy."""
    opened = await pool(url, connections, durable=durable)
    try:
        await opened.execute(SCHEMA)
        until = time.perf_counter() + seconds
        done = 0

        async def work() -> None:
            nonlocal done
            async with opened.acquire() as connection:
                while time.perf_counter() < until:
                    await admit(connection, 10)
                    done += 1

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(connections)))
        return done / (time.perf_counter() - began)
    finally:
        await opened.close()


async def steady(url: str, seconds: float, rate: float, *, connections: int) -> list[float]:
    """Latencies in seconds of admissions that arrive evenly, whether earlier ones are done or not."""
    opened = await pool(url, connections, durable=True)
    latencies: list[float] = []
    try:
        await opened.execute(SCHEMA)

        async def one(at: float) -> None:
            async with opened.acquire() as connection:
                await admit(connection, 10)
            latencies.append(time.perf_counter() - at)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(int(seconds * rate)):
                due = began + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(one(due))
        return latencies
    finally:
        await opened.close()
