"""A database that outlives its own outages: statements wait for PostgreSQL instead of failing somebody's job."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

import asyncpg

from millrace.store.pool import OUTAGES, REFUSALS, refusal

log = logging.getLogger(__name__)
T = TypeVar("T")
Record = asyncpg.Record
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"  # generic in its stubs alone
Value = object

_LONGEST_WAIT_S = 5.0
_SAY_AGAIN_S = 60.0


def rows_changed(status: str) -> int:
    """How many rows a statement has changed, from its command tag: `UPDATE 3`, `INSERT 0 1`."""
    return int(status.rpartition(" ")[2])


class Database:
    """Statements that are tried again, for as long as it takes, while the database is away.

    So every statement given to it must be right when it is applied twice: compare-and-set, upsert, delete.
    """

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool
        self._refused_at: float | None = None

    @property
    def pool(self) -> asyncpg.Pool[asyncpg.Record]:
        """The pool behind it, for adapters that do their own waiting."""
        return self._pool

    async def fetch(self, sql: str, *args: Value) -> Sequence[Record]:
        """All rows."""
        return await self._steadily(lambda: self._pool.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: Value) -> Record | None:
        """The first row, or None."""
        return await self._steadily(lambda: self._pool.fetchrow(sql, *args))

    async def many(self, sql: str, of: Sequence[tuple[Value, ...]]) -> Sequence[Record]:
        """Run a statement once with each of these arguments, in one round trip and one transaction; all rows."""
        return await self._steadily(lambda: self._pool.fetchmany(sql, of))

    async def execute(self, sql: str, *args: Value) -> int:
        """Run a statement; returns the number of rows it changed."""
        status = await self._steadily(lambda: self._pool.execute(sql, *args))
        return rows_changed(status)

    async def transaction(self, body: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `body` in one transaction; it may run more than once."""

        async def once() -> T:
            async with self._pool.acquire() as connection, connection.transaction():
                return await body(connection)

        return await self._steadily(once)

    async def _steadily(self, operation: Callable[[], Awaitable[T]]) -> T:
        wait = 0.1
        while True:
            try:
                return await operation()
            except REFUSALS as exc:
                self._tell(refusal(exc))
            except OUTAGES as exc:
                log.warning("PostgreSQL is away (%s); trying again in %.1f s", type(exc).__name__, wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT_S)

    def _tell(self, refused: str) -> None:
        """Say what to do, once a minute for all statements. It is waited for, too: nobody's job has failed."""
        now = time.monotonic()
        if self._refused_at is None or now - self._refused_at >= _SAY_AGAIN_S:
            self._refused_at = now
            log.error("%s Work waits until then; a changed setting needs a new start.", refused)
