"""Removes what deleted shares have left behind: content of work that workers were still at, and files.

Every gateway does it; a row that one looks at is passed over by the others. What if the process dies? A row leaves
with what it stands for, or is looked at again: files and contents are removed twice without harm.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Final

import asyncpg

from millrace.errors import Poison, Unavailable
from millrace.store.blobs import BlobStore
from millrace.store.database import Connection
from millrace.store.deletion import erase_due
from millrace.store.pool import OUTAGES
from services.api_gateway.uploads import LOCK

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
_AT_ONCE: Final = 100
_LATER: Final = timedelta(minutes=1)
"""When a file is tried again that could not be removed, or is just being uploaded by somebody else."""

# Whose hold is over has died before the share was written down.
_ABANDONED: Final = """
WITH over AS (DELETE FROM uploads_under_way WHERE until < now() RETURNING blob_key)
INSERT INTO deleted_blobs (blob_key, due) SELECT blob_key, now() FROM over ON CONFLICT (blob_key) DO NOTHING
"""
_NEXT: Final = """
SELECT blob_key FROM deleted_blobs WHERE due <= now() ORDER BY due LIMIT 1 FOR UPDATE SKIP LOCKED
"""
# As the index `work_by_blob` has it.
_NEEDED: Final = """
SELECT EXISTS (SELECT FROM shares WHERE blob_key = $1)
    OR EXISTS (SELECT FROM work
                WHERE left(coalesce(result ->> 'blob_key', result ->> 'segments_ref'), 512) = left($1, 512))
"""
_HELD: Final = "SELECT EXISTS (SELECT FROM uploads_under_way WHERE blob_key = $1 AND until > now())"
_POSTPONE: Final = "UPDATE deleted_blobs SET due = now() + $2 WHERE blob_key = $1"
_DONE: Final = "DELETE FROM deleted_blobs WHERE blob_key = $1"


class Remover:
    """Removes while `run` runs."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], blobs: BlobStore) -> None:
        self._pool = pool
        self._blobs = blobs
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something is to be removed: do not wait for the next look."""
        self._woken.set()

    async def run(self) -> None:
        """Run until cancelled; outages are waited for."""
        while True:
            self._woken.clear()
            try:
                await self.look()
            except OUTAGES as exc:
                log.warning("What was deleted is removed later: PostgreSQL is away (%s)", type(exc).__name__)
            except Exception:  # shares are still taken and shown
                log.exception("What was deleted cannot be removed; trying again")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._woken.wait()

    async def look(self) -> None:
        """Remove all that is due."""
        found = _AT_ONCE
        while found == _AT_ONCE:
            async with self._pool.acquire() as connection, connection.transaction():
                found = await erase_due(connection, _AT_ONCE)
        await self._pool.execute(_ABANDONED)
        while await self._remove_one():
            pass

    async def _remove_one(self) -> bool:
        """Look at the file that has been due for longest; False when there is none."""
        async with self._pool.acquire() as connection, connection.transaction():
            key = await connection.fetchval(_NEXT)
            if key is None:
                return False
            await connection.execute(LOCK, key)  # until the transaction ends: nobody begins to refer to it meanwhile
            if await connection.fetchval(_HELD, key) or not await self._removed(connection, key):
                await connection.execute(_POSTPONE, key, _LATER)
            else:
                await connection.execute(_DONE, key)
            return True

    async def _removed(self, connection: Connection, key: str) -> bool:
        """Whether the file is gone, or is another share's to keep."""
        if await connection.fetchval(_NEEDED, key):
            return True
        try:
            await self._blobs.delete(key)
        except Unavailable as exc:
            log.warning("%s is removed later: %s", key, exc)
            return False
        except Poison as exc:  # no key that the store has ever given out
            log.warning("%s cannot be removed: %s", key, exc)
        return True
