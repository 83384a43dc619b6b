"""Tells those who watch shares what has changed: one look at the database for all of them, while there are any.

A look finds the jobs that were written, and the shares that were deleted, by transactions which the look before
could not have seen: each row has the id of the transaction that wrote it last (`jobs.changed`), and a snapshot of
PostgreSQL says from which id on it may have missed something. So nothing is lost between two looks, whatever commits
late, and nobody's clock counts. Several gateways look for themselves; those who write do nothing for it but keep one
index (`jobs_changed`).

What if the process dies? Readers connect again, to any gateway, and are told where things stand if that is new.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from millrace.contracts.catalog import Catalog
from millrace.contracts.share_api import ShareRow, ShareView
from millrace.store.blobs import BlobStore
from millrace.store.database import Connection
from millrace.store.pool import OUTAGES
from services.api_gateway.errors import NotFound
from services.api_gateway.listeners import Listener, Told
from services.api_gateway.projections import share_view
from services.api_gateway.share_list import share_rows

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 0.5
HEART_BEAT_S: Final = 15.0
_AFTER_OUTAGE_S: Final = 2.0
_AT_ONCE: Final = 4
"""Views that are read at a time: of the pool's ten connections some are left to requests."""
_MOST_CAUGHT_UP: Final = 400
"""Shares that a reader who comes again is told of: fewer than may wait for it."""

_NOW: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_CHANGED: Final = """
SELECT share_id, owner, max(changed::text::bigint) AS changed
  FROM (SELECT share_id, owner, changed FROM jobs
        UNION ALL SELECT share_id, owner, changed FROM deleted_shares) AS either
 WHERE changed >= $1::text::xid8 AND changed < pg_snapshot_xmax(pg_current_snapshot()) AND owner = ANY($2::text[])
 GROUP BY share_id, owner ORDER BY changed DESC LIMIT $3
"""


@dataclass(frozen=True)
class _Change:
    share_id: str
    owner: str
    changed: int


_Key = tuple[str, str]
"""Of a share: its id and its owner."""


class Watcher:
    """Looks while anybody listens; close it before the pool."""

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        blobs: BlobStore,
        catalog: Catalog,
        heart_beat_s: float = HEART_BEAT_S,
    ) -> None:
        self.heart_beat_s = heart_beat_s
        self._pool = pool
        self._blobs = blobs
        self._catalog = catalog
        self._listeners: set[Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self._mark = 0
        self._told: dict[str, int] = {}
        self._reading = asyncio.Semaphore(_AT_ONCE)
        self._untold: set[_Key] = set()
        self._telling: dict[_Key, asyncio.Task[None]] = {}

    def count(self, owner: str) -> int:
        """How many listen to shares of an owner."""
        return sum(listener.owner == owner for listener in self._listeners)

    async def now(self) -> int:
        """A mark from which on a reader who has read everything now may have missed something."""
        return int(await self._pool.fetchval(_NOW))

    async def join(self, owner: str, share_id: str | None = None) -> Listener:
        """Begin to listen: what changes from here on is told. `leave` ends it.

        The caller reads the present state afterwards, so that nothing falls between.
        """
        async with self._starting:
            if self._looking is None or self._looking.done():
                self._mark = await self._pool.fetchval(_NOW)
                self._told = {}
                self._looking = asyncio.create_task(self._run())
            listener = Listener(owner, share_id, closed=self._closed)
            self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no more; the last one stops the looks."""
        self._listeners.discard(listener)
        if not self._listeners and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def end(self) -> None:
        """Let every stream end, also those that are still to come: the gateway stops."""
        self._closed = True
        for listener in self._listeners:
            listener.close()

    async def close(self) -> None:
        """Stop looking."""
        self.end()
        looking, self._looking = self._looking, None
        for task in (tasks := [*self._telling.values(), *([] if looking is None else [looking])]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def share(self, share_id: str, owner: str) -> Told:
        """Where a share stands now, as `GET /shares/{id}` gives it; its mark is made from that.

        :raises NotFound: there is no such share, or it is somebody else's.
        """
        async with self._reading:
            view = await share_view(self._pool, self._blobs, self._catalog, share_id, owner)
        return await asyncio.to_thread(_shown, view)

    async def since(self, owner: str, mark: int) -> list[Told]:
        """The shares of an owner that have changed since a mark of an earlier stream, at most 400, oldest first."""
        async with self._pool.acquire() as connection:
            seen_to = await connection.fetchval(_NOW)
            changes = await _changes(connection, min(mark, seen_to), [owner], _MOST_CAUGHT_UP)
            rows = await share_rows(connection, self._catalog, owner, [change.share_id for change in changes])
        known = {row.share_id: row for row in rows}
        return [_told(change.share_id, known.get(change.share_id), seen_to) for change in changes]

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.sleep(LOOK_EVERY_S)
                await self._look()
            except OUTAGES as exc:
                log.warning("Those who watch shares wait: the database is away (%s)", type(exc).__name__)
                await asyncio.sleep(_AFTER_OUTAGE_S)
            except Exception:
                log.exception("The watcher of shares broke; every stream ends, so that its reader comes again")
                for listener in self._listeners:
                    listener.close()
                return

    async def _look(self) -> None:
        async with self._pool.acquire() as connection:
            seen_to = await connection.fetchval(_NOW)  # before, so that what commits meanwhile is looked for again
            owners = list({listener.owner for listener in self._listeners})  # who joins later has read what is older
            # Of a database that was restored the ids are smaller than before, but for those of its rows.
            changes = await _changes(connection, min(self._mark, seen_to), owners)
            new = [change for change in changes if self._told.get(change.share_id) != change.changed]
            asked = {one.owner for one in self._listeners if one.share_id is None}
            rows = await self._rows(connection, [change for change in new if change.owner in asked])
        self._tell_owners([change for change in new if change.owner in asked], rows, seen_to)
        for change in new:
            self._tell_readers_soon((change.share_id, change.owner))
        self._mark = seen_to
        self._told = {change.share_id: change.changed for change in changes}

    async def _rows(self, connection: Connection, new: Sequence[_Change]) -> dict[str, ShareRow]:
        of: dict[str, list[str]] = {}
        for change in new:
            of.setdefault(change.owner, []).append(change.share_id)
        found = [await share_rows(connection, self._catalog, owner, ids) for owner, ids in of.items()]
        return {row.share_id: row for rows in found for row in rows}

    def _tell_owners(self, new: Collection[_Change], rows: dict[str, ShareRow], seen_to: int) -> None:
        for change in new:
            told = _told(change.share_id, rows.get(change.share_id), seen_to)
            for listener in self._listeners:
                if listener.share_id is None and listener.owner == change.owner:
                    listener.tell(change.share_id, told)

    def _readers(self, key: _Key) -> list[Listener]:
        return [one for one in self._listeners if (one.share_id, one.owner) == key]

    def _tell_readers_soon(self, key: _Key) -> None:
        """Read the share beside the looks: one that is large keeps its own readers waiting, and nobody else."""
        if not self._readers(key):
            return
        self._untold.add(key)
        if key not in self._telling:
            self._telling[key] = asyncio.create_task(self._tell_readers(key))

    async def _tell_readers(self, key: _Key) -> None:
        """Tell where a share stands until nothing has changed meanwhile; the looks have gone on."""
        try:
            while key in self._untold and self._readers(key):
                self._untold.discard(key)
                try:
                    told = await self.share(*key)
                except NotFound:
                    told = _gone(key[0], "gone")
                except OUTAGES as exc:
                    log.warning("Those who watch a share wait: the database is away (%s)", type(exc).__name__)
                    self._untold.add(key)
                    await asyncio.sleep(_AFTER_OUTAGE_S)
                    continue
                for listener in self._readers(key):
                    listener.tell(key[0], told)
        except Exception:  # of this share alone: the others' readers read on
            log.exception("The share %s cannot be shown; the streams of it end", key[0])
            for listener in self._readers(key):
                listener.close()
        finally:
            self._untold.discard(key)
            del self._telling[key]


def _shown(view: ShareView) -> Told:
    data = view.model_dump_json()
    return Told("share", data, hashlib.sha256(data.encode()).hexdigest()[:16])


async def _changes(
    connection: Connection, mark: int, owners: Sequence[str], most: int | None = None
) -> list[_Change]:
    """What has changed since a mark, oldest first; the newest alone where there is more."""
    rows = await connection.fetch(_CHANGED, str(mark), owners, most)
    return [_Change(row["share_id"], row["owner"], row["changed"]) for row in reversed(rows)]


def _told(share_id: str, row: ShareRow | None, seen_to: int) -> Told:
    """A row for those who read all shares. The mark is the look's: what it may have missed comes after it."""
    return _gone(share_id, str(seen_to)) if row is None else Told("share", row.model_dump_json(), str(seen_to))


def _gone(share_id: str, mark: str) -> Told:
    return Told("gone", json.dumps({"share_id": share_id}), mark)
