"""Writes what the core writes: results, commands, status rows and dead letters."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from millrace import ids
from millrace.clock import Clock
from millrace.contracts.dead import Death, headers_of
from millrace.contracts.events import RequestReason, ShareEvent, StageName, StageRequested, TaskStatus
from millrace.contracts.headers import TraceParent, headers
from millrace.contracts.partitions import partition_for, partition_key
from millrace.contracts.wire import Codec
from millrace.errors import Poison
from millrace.kafka.records import Header
from millrace.stream.incoming import Incoming, Original
from millrace.stream.stage import GENERATION_OPTION
from millrace.tracing.spans import trace_of

_LONGEST_KEY = 1000  # bytes, of a letter whose message is not kept


class Sender(Protocol):
    """Delivers messages, as `millrace.kafka.producer.Producer` does."""

    async def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes | None,
        headers: Sequence[Header],
        partition: int | None = None,
        linger: bool = False,
    ) -> None:
        """Return when the message is durable; one that lingers waits a moment for others.

        :raises Poison: it is larger than the topic takes.
        """
        ...


class Writer:
    """Emits records with CloudEvents and trace headers; returns when Kafka has confirmed them."""

    def __init__(
        self, producer: Sender, codec: Codec, clock: Clock, *, source: str, partitions: Mapping[str, int]
    ) -> None:
        self._producer = producer
        self._codec = codec
        self._clock = clock
        self._source = source
        self._partitions = partitions

    async def result(
        self,
        topic: str,
        event: ShareEvent,
        work_key: ids.WorkKey,
        traceparent: bytes | None,
        told_at: datetime,
    ) -> None:
        """A stage's result. Its id is a function of share and work and its time that of the first telling, so that a
        repeat can be recognised.
        """
        about = headers(
            topic,
            ids.event_id(topic, event.share_id, work_key),
            source=self._source,
            subject=event.share_id,
            time=told_at,
            traceparent=trace_of(traceparent),
        )
        await self._producer.send(
            topic, key=event.share_id.encode(), value=self._codec.encode(topic, event), headers=about
        )

    async def status(self, status: TaskStatus) -> None:
        """Where a job stands."""
        topic, key = "task.status", f"{status.share_id}|{status.stage}"
        moment = f"{key}|{status.updated_at.isoformat()}"
        await self._producer.send(
            topic,
            key=key.encode(),
            value=self._codec.encode(topic, status),
            headers=self._headers(topic, ids.event_id(topic, status.share_id, moment), key, trace_of(None)),
            partition=partition_for(partition_key(key), self._partitions[topic]),
            linger=True,
        )

    async def tombstone(self, topic: str, share_id: str, row: str | None = None) -> None:
        """The share was deleted: whoever holds what the topic said of it removes that.

        :param row: the key, where the topic has several for a share.
        """
        key = row or share_id
        await self._producer.send(
            topic,
            key=key.encode(),
            value=None,
            headers=self._headers(topic, ids.event_id(topic, key, "deleted"), key, trace_of(None)),
            partition=None if row is None else partition_for(partition_key(row), self._partitions[topic]),
        )

    def command(
        self, stage: StageName, requested: str, incoming: Incoming, event: ShareEvent, reason: RequestReason
    ) -> bytes:
        """The command that brings a job back, with the bytes that it came with at first."""
        request = StageRequested(
            share_id=event.share_id,
            account=event.account,
            stage=stage,
            reason=reason,
            origin_topic=incoming.original.at.topic,
            origin_key=incoming.original.key,
            origin_value=incoming.original.value,
            origin_headers=dict(incoming.original.headers),
            options=dict(incoming.options),
            force=GENERATION_OPTION in incoming.options,
            requested_by=self._source,
            requested_at=self._clock.now(),
        )
        return self._codec.encode(requested, request)

    async def forward(self, topic: str, key: bytes, value: bytes, headers: Sequence[Header]) -> None:
        """Publish bytes that are already encoded."""
        await self._producer.send(topic, key=key, value=value, headers=headers)

    async def dead_letter(
        self,
        stage: StageName,
        topic: str,
        original: Original,
        error: BaseException,
        *,
        round_: str,
        share_id: str,
        attempts: int,
        work_key: ids.WorkKey | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """The original bytes and headers, with the evidence in more headers.

        A round of tries that ends twice, because the process died in between, ends under the same id. Where the
        message is too large even for this topic (it was compressed), the letter says so and where the message lies.
        """
        death = Death(
            stage=stage,
            key=original.key,
            value=original.value,
            headers=original.headers,
            origin=original.at,
            round=round_,
            share_id=share_id,
            error=type(error).__name__,
            reason=str(error),
            stack="".join(traceback.format_exception(error, limit=-8)),
            attempts=attempts,
            work_key=work_key,
            options=options or {},
            service=self._source,
            died_at=self._clock.now(),
        )
        try:
            await self._bury(topic, death)
        except Poison:
            size = len(death.key) + len(death.value)
            reason = f"{death.reason} (the message of {size} bytes is too large to be kept here; see {original.at})"
            key = death.key if len(death.key) <= _LONGEST_KEY else b""
            await self._bury(topic, replace(death, key=key, value=b"", headers={}, reason=reason))

    async def _bury(self, topic: str, death: Death) -> None:
        await self._producer.send(topic, key=death.key, value=death.value, headers=headers_of(death))

    def _headers(self, topic: str, event_id: str, subject: str, traceparent: TraceParent) -> list[Header]:
        return headers(
            topic, event_id, source=self._source, subject=subject, time=self._clock.now(), traceparent=traceparent
        )
