"""Cancelling a share, for its owner."""

from __future__ import annotations

import asyncpg

from millrace.contracts.catalog import Catalog
from millrace.contracts.share_api import CancelAnswer, CancelledStage
from millrace.store.cancel import cancel
from millrace.text import has_nul
from services.api_gateway.errors import NotFound


class CancelDesk:
    """Cancels shares."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], catalog: Catalog) -> None:
        self._pool = pool
        self._catalog = catalog

    async def cancel(self, share_id: str, owner: str) -> CancelAnswer:
        """Let no stage of a share begin any more, and stop those that run; may be repeated.

        :raises NotFound: there is no such share, or it is somebody else's.
        """
        if has_nul(share_id):
            raise NotFound("There is no share with this id.")
        async with self._pool.acquire() as connection, connection.transaction():
            sql = "SELECT FROM shares WHERE share_id = $1 AND owner = $2"
            if await connection.fetchrow(sql, share_id, owner) is None:
                raise NotFound("There is no share with this id.")
            jobs = await cancel(connection, share_id)
        jobs.sort(key=lambda job: self._catalog.place_of(job.stage))
        return CancelAnswer(share_id=share_id, stages=[CancelledStage.of(job.stage, job.state) for job in jobs])
