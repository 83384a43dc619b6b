"""Uploads on their way into a share: their files are not removed meanwhile, whoever deletes a share with the same.

A file is put into the media store before its share is written down, and is put there once, whoever uploads it. So its
key is held first: who removes files (`removal.py`) leaves it alone then, and has ended with it, or not begun, because
both take the key's lock. What if the process dies in between? After a day the hold is over, and the file is removed
unless a share refers to it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import asyncpg

from millrace.store.database import Connection
from services.api_gateway.errors import NotNow

HELD_FOR: Final = timedelta(days=1)
LOCK: Final = "SELECT pg_advisory_xact_lock(7215334, hashtext($1))"
"""One at a time for a file: who holds it, who shares it, who removes it."""
_HOLD: Final = """
INSERT INTO uploads_under_way (blob_key, until) VALUES ($1, now() + $2)
ON CONFLICT (blob_key) DO UPDATE SET until = excluded.until
"""
# Of two who upload the same, the first may have ended the hold: then its share keeps the file for the second.
_TAKE: Final = """
WITH held AS (DELETE FROM uploads_under_way WHERE blob_key = $1 RETURNING until > now() AS holds)
SELECT EXISTS (SELECT FROM held WHERE holds) OR EXISTS (SELECT FROM shares WHERE blob_key = $1)
"""


async def hold(pool: asyncpg.Pool[asyncpg.Record], key: str) -> None:
    """Have a file left alone from now on."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(LOCK, key)
        await connection.execute(_HOLD, key, HELD_FOR)


async def taken(connection: Connection, key: str) -> None:
    """A share refers to the file, once the caller's transaction has ended.

    :raises NotNow: it may have been removed.
    """
    await connection.execute(LOCK, key)
    if not await connection.fetchval(_TAKE, key):
        raise NotNow("The same file was deleted while it was sent; send it again.")
