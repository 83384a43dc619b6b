"""Deleting a share, for its owner and for admins: rows, work and files, and whoever holds something of it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from millrace import ids
from millrace.clock import Clock
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import StageName
from millrace.contracts.headers import headers
from millrace.contracts.partitions import partition_for, partition_key, row_key
from millrace.contracts.topics import SchemaRef, TopicSpec
from millrace.store.deletion import delete, erase, forget_url, remove_later
from millrace.text import has_nul
from millrace.tracing.spans import trace_of
from services.api_gateway.errors import NotFound
from services.api_gateway.outbox import enqueue
from services.api_gateway.ports import OutboxMessage
from services.api_gateway.principal import Principal

_NONE: Final = "There is no share with this id."
_TRIES: Final = 5
_STATUS: Final = "task.status"
_COMMAND: Final = "stage.requested"
_SHARE: Final = """
SELECT owner, url, blob_key FROM shares WHERE share_id = $1 AND (owner = $2 OR $3) FOR UPDATE
"""
_DELETED: Final = "SELECT FROM deleted_shares WHERE share_id = $1 AND (owner = $2 OR $3)"


class DeleteDesk:
    """Deletes shares; all of `wake` are called when tombstones wait in the outbox, and files to be removed.

    What if the process dies? All rows go in one transaction, in which tombstones and what is left to be removed are
    written down, too.
    """

    def __init__(
        self, pool: asyncpg.Pool[asyncpg.Record], catalog: Catalog, clock: Clock, *wake: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._catalog = catalog
        self._clock = clock
        self._wake = wake

    async def delete(self, share_id: str, who: Principal) -> None:
        """Delete a share with everything that came of it and that no other share needs; may be repeated.

        :raises NotFound: there never was such a share, or it is somebody else's.
        """
        if has_nul(share_id):
            raise NotFound(_NONE)
        for tries_left in reversed(range(_TRIES)):
            try:
                await self._delete(share_id, who)
            except asyncpg.DeadlockDetectedError:  # workers lock rows of several shares, in orders of their own
                if not tries_left:
                    raise
            else:
                break
        for wake in self._wake:
            wake()

    async def _delete(self, share_id: str, who: Principal) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            share = await connection.fetchrow(_SHARE, share_id, who.owner, who.is_admin)
            if share is None:
                if await connection.fetchrow(_DELETED, share_id, who.owner, who.is_admin) is None:
                    raise NotFound(_NONE)
                return
            removed = await delete(connection, share_id, share["owner"])
            if share["url"] is not None:
                await forget_url(connection, ids.content_hash(share["url"]))
            await erase(connection, removed.works)
            if share["blob_key"] is not None:
                await remove_later(connection, [share["blob_key"]])
            for message in tombstones(self._catalog, share_id, removed.stages, self._clock.now()):
                await enqueue(connection, message)


def tombstones(catalog: Catalog, share_id: str, stages: Sequence[StageName], at: datetime) -> Iterator[OutboxMessage]:
    """A message without a value on every topic that tells of the share, under the key that it does so under.

    Not on those of commands: they are for our own agents, who ask the database.
    """
    for topic in catalog.topics.values():
        if topic.key == "share id" and not _has_commands(topic):
            yield _tombstone(topic.name, share_id, at)
    count = catalog.topic(_STATUS).partitions
    for stage in stages:
        key = row_key(share_id, stage)
        yield _tombstone(_STATUS, key, at, partition_for(partition_key(key), count))


def _has_commands(topic: TopicSpec) -> bool:
    return isinstance(topic.schema_ref, SchemaRef) and topic.schema_ref.name == _COMMAND


def _tombstone(topic: str, key: str, at: datetime, partition: int | None = None) -> OutboxMessage:
    described = headers(
        topic,
        ids.event_id(topic, key, "deleted"),
        source="api_gateway",
        subject=key,
        time=at,
        traceparent=trace_of(None),
    )
    return OutboxMessage(topic, key.encode(), None, {name: value.decode() for name, value in described}, partition)
