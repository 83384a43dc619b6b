"""Accepting a share: its row, its jobs and its event are written in one transaction, or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict

import asyncpg

from millrace import ids
from millrace.clock import Clock
from millrace.contracts.events import ShareCreated
from millrace.contracts.headers import headers
from millrace.contracts.share_api import Accepted
from millrace.ids import ShareId
from millrace.store.database import Connection
from millrace.store.queueing import queue
from millrace.tracing.spans import about, trace_of
from services.api_gateway.domain import STAGES, Draft
from services.api_gateway.errors import BadRequest, Conflict
from services.api_gateway.outbox import enqueue
from services.api_gateway.ports import Encoder, OutboxMessage
from services.api_gateway.uploads import taken

TOPIC = "share.created"
_LONGEST_KEY = 255

_INSERT = """
INSERT INTO shares (share_id, account, owner, source_kind, url, blob_key, text, filename, platform, content_type,
                    title, description, language, tags, options, created_at, idempotency_key, request_hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT (owner, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING share_id
"""
_FIND_REPEATED = """
SELECT share_id, source_kind, request_hash FROM shares WHERE owner = $1 AND idempotency_key = $2
"""


class ShareDesk:
    """Takes drafts in; `wake` is called when a new event waits in the outbox."""

    def __init__(
        self,
        pool: asyncpg.Pool[asyncpg.Record],
        encoder: Encoder,
        clock: Clock,
        wake: Callable[[], None],
        new_id: Callable[[], ShareId] = ids.new_share_id,
    ) -> None:
        self._pool = pool
        self._encoder = encoder
        self._clock = clock
        self._wake = wake
        self._new_id = new_id

    async def accept(
        self, draft: Draft, *, owner: str, idempotency_key: str | None = None, traceparent: str | None = None
    ) -> Accepted:
        """Make the draft a share; it survives any crash from here on.

        :raises BadRequest: the idempotency key is not one.
        :raises Conflict: the key was used for something else.
        :raises NotNow: its upload is not there any more.
        """
        check_key(idempotency_key)
        event = self._event(draft, owner)
        about({"millrace.share_id": event.share_id})
        message = self._message(event, traceparent)
        async with self._pool.acquire() as connection, connection.transaction():
            if event.blob_key is not None:
                await taken(connection, event.blob_key)
            inserted = await self._insert(connection, event, idempotency_key, _fingerprint(draft))
            if inserted:
                await queue(connection, event.share_id, event.account, draft.stages, event.created_at)
                await enqueue(connection, message)
        if inserted:
            self._wake()
            return Accepted(share_id=event.share_id, href=_href(event.share_id), stages=list(draft.stages))
        return await self._repeated(owner, idempotency_key or "", _fingerprint(draft))

    def _event(self, draft: Draft, owner: str) -> ShareCreated:
        return ShareCreated(
            share_id=self._new_id(),
            account=draft.account,
            owner=owner,
            source_kind=draft.source_kind,
            url=draft.url,
            blob_key=draft.blob_key,
            text=draft.text,
            filename=draft.filename,
            platform=draft.platform,
            content_type=draft.content_type,
            title=draft.title,
            description=draft.description,
            language=draft.language,
            tags=list(draft.tags),
            options=dict(draft.options),
            created_at=self._clock.now(),
        )

    def _message(self, event: ShareCreated, traceparent: str | None) -> OutboxMessage:
        described = headers(
            TOPIC,
            ids.event_id(TOPIC, event.share_id, event.share_id),
            source="api_gateway",
            subject=event.share_id,
            time=event.created_at,
            traceparent=trace_of(traceparent),
        )
        return OutboxMessage(
            topic=TOPIC,
            key=event.share_id.encode(),
            value=self._encoder.encode(TOPIC, event),
            headers={name: value.decode() for name, value in described},
        )

    async def _insert(
        self, connection: Connection, event: ShareCreated, idempotency_key: str | None, fingerprint: str
    ) -> bool:
        inserted = await connection.fetchval(
            _INSERT,
            event.share_id,
            event.account,
            event.owner,
            event.source_kind,
            event.url,
            event.blob_key,
            event.text,
            event.filename,
            event.platform,
            event.content_type,
            event.title,
            event.description,
            event.language,
            event.tags,
            event.options,
            event.created_at,
            idempotency_key,
            fingerprint,
        )
        return inserted is not None

    async def _repeated(self, owner: str, idempotency_key: str, fingerprint: str) -> Accepted:
        row = await self._pool.fetchrow(_FIND_REPEATED, owner, idempotency_key)
        if row is None or row["request_hash"] != fingerprint:
            raise Conflict("This Idempotency-Key was used for another share; use a new one for this.")
        stages = list(STAGES[row["source_kind"]])
        return Accepted(share_id=row["share_id"], href=_href(row["share_id"]), stages=stages, repeated=True)


def check_key(idempotency_key: str | None) -> None:
    """Let a key through that can be kept.

    :raises BadRequest: it is none.
    """
    if idempotency_key is not None and not 0 < len(idempotency_key) <= _LONGEST_KEY:
        raise BadRequest(f"The Idempotency-Key has 1 to {_LONGEST_KEY} characters.")


def _href(share_id: str) -> str:
    return f"/shares/{share_id}"


def _fingerprint(draft: Draft) -> str:
    """Same request, same fingerprint; an upload counts by the hash in its key."""
    fields = asdict(draft)
    if not draft.options:  # as before there were any
        del fields["options"]
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
