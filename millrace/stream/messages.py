"""What the core reads and writes: events, commands, status rows and dead letters, as typed records."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from millrace import ids
from millrace.clock import Clock
from millrace.contracts.events import (
    Event,
    RequestReason,
    ShareEvent,
    StageName,
    StageRequested,
    TaskStatus,
)
from millrace.contracts.headers import TraceParent, continue_trace, headers
from millrace.contracts.partitions import partition_for, partition_key
from millrace.contracts.wire import Codec
from millrace.errors import Poison
from millrace.kafka.producer import Header
from millrace.store.jobs import Ask
from millrace.store.turns import Turn
from millrace.stream.pool import Message
from millrace.stream.stage import GENERATION_OPTION
from millrace.stream.turns import headers_of, turn_of, turn_of_headers

_LONGEST_REASON, _LONGEST_STACK = 1000, 4000  # characters: evidence must never make a message too large

GATE_HEADER = "millrace-gate"
"""Names the gate that let a waiting message through."""

ON_DEMAND: frozenset[RequestReason] = frozenset({"api", "replay"})
"""Somebody asked: attempts start afresh and the result is emitted even if it was before."""


@dataclass(frozen=True)
class Incoming:
    """A record that was read: the event it is about, and how it came."""

    message: Message
    event: Event
    origin: Message
    options: Mapping[str, str] = field(default_factory=dict)
    reason: RequestReason | None = None
    turn: Turn | None = None

    @property
    def asked_for(self) -> bool:
        """A person or a replay asked for it."""
        return self.reason in ON_DEMAND

    @property
    def ask(self) -> Ask:
        """What it asks, as the job's row keeps it."""
        return Ask(self.turn, self.asked_for)

    def ask_after_waiting(self, now: datetime) -> Ask:
        """The same of the command that brings it back."""
        return Ask(self.turn and self.turn.after_waiting(now), self.asked_for)

    @property
    def traceparent(self) -> bytes | None:
        """Trace that the record belongs to."""
        return self.message.headers.get("traceparent")

    @property
    def let_through(self) -> str | None:
        """The gate that it waited behind, if any."""
        gate = self.message.headers.get(GATE_HEADER)
        return None if gate is None else gate.decode("utf-8", "replace")

    def waiting_headers(self, turn: Turn | None) -> dict[str, str]:
        """The trace and the next turn as text, to be kept with work that waits."""
        trace = self.traceparent
        kept = {} if trace is None else {"traceparent": trace.decode("ascii", "replace")}
        if turn is not None:
            kept |= headers_of(turn)
        return kept


class Sender(Protocol):
    """Delivers messages, as `millrace.kafka.producer.Producer` does."""

    async def send(
        self, topic: str, *, key: bytes, value: bytes, headers: Sequence[Header], partition: int | None = None
    ) -> None:
        """Return when the message is durable.

        :raises Poison: it is larger than the topic takes.
        """
        ...


class Reader:
    """Decodes records; a command on `<stage>.requested` is unwrapped to the event it carries.

    :param inputs: the stage's event topics, the only ones that a command may carry a message of.
    """

    def __init__(self, codec: Codec, inputs: Collection[str]) -> None:
        self._codec = codec
        self._inputs = inputs

    async def read(self, message: Message) -> Incoming:
        """Decode a record.

        :raises Poison: its bytes can never be decoded, or say what cannot be written down.
        :raises Unavailable: the registry does not answer.
        """
        event = await self._codec.decode(message.at.topic, message.value)
        if not isinstance(event, StageRequested):
            return Incoming(message, _storable(event), message, turn=turn_of(event, message.headers))
        if event.origin_topic not in self._inputs:
            raise Poison(f"a command that carries a message of {event.origin_topic[:100]!r}, which is not read here")
        origin = Message(
            message.at._replace(topic=event.origin_topic),
            message.offset,
            event.origin_key or message.key,
            event.origin_value,
            event.origin_headers,
        )
        carried = await self._codec.decode(event.origin_topic, event.origin_value)
        asked = Turn(event.requested_at) if event.reason in ON_DEMAND else turn_of_headers(message.headers)
        options = event.options
        if event.force and GENERATION_OPTION not in options:
            # By the command's place: delivered again, it means the same work.
            place = f"{message.at.topic}-{message.at.partition}@{message.offset}"
            options = {**options, GENERATION_OPTION: place}
        return Incoming(message, _storable(carried), origin, options, event.reason, asked)


def _storable(event: Event) -> Event:
    """The event, whose ids name rows of PostgreSQL.

    :raises Poison: an id with a NUL, which no text column takes.
    """
    if isinstance(event, ShareEvent) and "\0" in event.share_id + event.account:
        raise Poison("a share id or an account with a NUL in it")
    return event


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
            traceparent=continue_trace(traceparent),
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
            headers=self._headers(topic, ids.event_id(topic, status.share_id, moment), key, continue_trace(None)),
            partition=partition_for(partition_key(key), self._partitions[topic]),
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
            origin_topic=incoming.origin.at.topic,
            origin_key=incoming.origin.key,
            origin_value=incoming.origin.value,
            origin_headers=dict(incoming.origin.headers),
            options=dict(incoming.options),
            force=GENERATION_OPTION in incoming.options,
            requested_by=self._source,
            requested_at=self._clock.now(),
        )
        return self._codec.encode(requested, request)

    async def forward(self, topic: str, key: bytes, value: bytes, headers: Sequence[Header]) -> None:
        """Publish bytes that are already encoded."""
        await self._producer.send(topic, key=key, value=value, headers=headers)

    async def dead_letter(self, topic: str, message: Message, error: BaseException, attempts: int) -> None:
        """The original bytes and headers, with the evidence in more headers."""
        stack = "".join(traceback.format_exception(error, limit=-8))[-_LONGEST_STACK:]
        evidence = {
            "millrace-error": type(error).__name__,
            "millrace-reason": str(error)[:_LONGEST_REASON],
            "millrace-attempts": str(attempts),
            "millrace-origin": f"{message.at.topic}-{message.at.partition}@{message.offset}",
            "millrace-service": self._source,
            "millrace-died-at": self._clock.now().isoformat(),
            "millrace-stack": stack,
        }
        marked = [
            *message.headers.items(),
            *((name, text.encode("utf-8", "backslashreplace")) for name, text in evidence.items()),
        ]
        await self._producer.send(topic, key=message.key, value=message.value, headers=marked)

    def _headers(self, topic: str, event_id: str, subject: str, traceparent: TraceParent) -> list[Header]:
        return headers(
            topic, event_id, source=self._source, subject=subject, time=self._clock.now(), traceparent=traceparent
        )
