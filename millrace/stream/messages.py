"""What the core reads and writes: events, commands, status rows and dead letters, as typed records."""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from millrace import ids
from millrace.clock import Clock
from millrace.contracts.dead import ORIGIN_HEADER, ROUND_HEADER, Death, Place, headers_of, place
from millrace.contracts.events import Event, RequestReason, ShareEvent, StageName, StageRequested, TaskStatus
from millrace.contracts.headers import TraceParent, continue_trace, headers
from millrace.contracts.partitions import partition_for, partition_key
from millrace.contracts.wire import Codec
from millrace.errors import Poison
from millrace.kafka.producer import Header
from millrace.store.jobs import Ask
from millrace.store.turns import Turn
from millrace.stream.pool import Message
from millrace.stream.stage import GENERATION_OPTION
from millrace.stream.turns import turn_headers, turn_of, turn_of_headers

_PLACE = re.compile(rb"[0-9]{1,18}")  # a bigint
_LONGEST_REASON, _LONGEST_STACK = 1000, 4000  # characters: evidence must never make a message too large
_LONGEST_ROUND = 500  # characters; a topic's name has 249 at most

GATE_HEADER = "millrace-gate"
"""Names the gate that let a waiting message through."""
PLACE_HEADER = "millrace-place"
"""The place in the queue that a message had while it waited, a number."""

ON_DEMAND: frozenset[RequestReason] = frozenset({"api", "replay"})
"""Somebody asked for the result: it is emitted even if it was before."""
FRESH: frozenset[RequestReason] = ON_DEMAND | {"redrive"}
"""Begins a new round of tries: attempts and calls are counted afresh."""


@dataclass(frozen=True)
class Original:
    """The message that an event first came with, and where it lies as far as that is known."""

    at: Place
    key: bytes
    value: bytes
    headers: Mapping[str, bytes]


def place_of(message: Message) -> Place:
    """Where a record lies."""
    return Place(message.at.topic, message.at.partition, message.offset)


def round_of(message: Message) -> str:
    """What began the round of tries that a record belongs to: what it carries, or the record itself."""
    carried = message.headers.get(ROUND_HEADER, b"").decode("utf-8", "replace").replace("\0", "")
    return carried[:_LONGEST_ROUND] or str(place_of(message))


@dataclass(frozen=True)
class Incoming:
    """A record that was read: the event it is about, how it came, and the message that the event first came with."""

    message: Message
    event: Event
    original: Original
    options: Mapping[str, str] = field(default_factory=dict)
    reason: RequestReason | None = None
    requested_at: datetime | None = None
    """When a command was given."""
    turn: Turn | None = None

    @property
    def asked_for(self) -> bool:
        """A person or a replay asked for it."""
        return self.reason in ON_DEMAND

    def asked_after(self, moment: datetime) -> bool:
        """A new round of tries was asked for since then."""
        return self.reason in FRESH and self.requested_at is not None and self.requested_at > moment

    @property
    def is_command(self) -> bool:
        """It came as a command that carries the event."""
        return self.requested_at is not None

    @property
    def round(self) -> str:
        """What began this round of tries: a record by its place, or a redrive by its name."""
        return round_of(self.message)

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

    @property
    def place(self) -> int | None:
        """Its place in the queue when it waited before, if it did."""
        place = self.message.headers.get(PLACE_HEADER, b"")
        return int(place) if _PLACE.fullmatch(place) else None

    def carried_headers(self, turn: Turn | None) -> dict[str, str]:
        """The trace, the round, the origin and the next turn as text, to be kept with work that waits."""
        trace = self.traceparent
        kept = {} if trace is None else {"traceparent": trace.decode("ascii", "replace")}
        kept |= {ROUND_HEADER: self.round, ORIGIN_HEADER: str(self.original.at)}
        return kept if turn is None else kept | turn_headers(turn)


class Sender(Protocol):
    """Delivers messages, as `millrace.kafka.producer.Producer` does."""

    async def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes,
        headers: Sequence[Header],
        partition: int | None = None,
        hurry: bool = True,
    ) -> None:
        """Return when the message is durable; one that does not hurry waits a moment for company.

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
            original = Original(place_of(message), message.key, message.value, message.headers)
            return Incoming(message, _storable(event), original, turn=turn_of(event, message.headers))
        if event.origin_topic not in self._inputs:
            raise Poison(f"a command that carries a message of {event.origin_topic[:100]!r}, which is not read here")
        at = place(message.headers.get(ORIGIN_HEADER, b"").decode("utf-8", "replace"))
        original = Original(
            at if at is not None and at.topic == event.origin_topic else Place(event.origin_topic),
            event.origin_key or message.key,
            event.origin_value,
            event.origin_headers,
        )
        carried = await self._codec.decode(event.origin_topic, event.origin_value)
        turn = Turn(event.requested_at) if event.reason in FRESH else turn_of_headers(message.headers)
        options = event.options
        if event.force and GENERATION_OPTION not in options:
            # By what began its round: delivered again, or handed over, it means the same work.
            options = {**options, GENERATION_OPTION: round_of(message)}
        # What was handed over is the event itself, on another way.
        reason = None if event.reason == "local" else event.reason
        return Incoming(message, _storable(carried), original, options, reason, event.requested_at, turn)


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
            hurry=False,
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

        A round of tries that ends twice, because the process died in between, ends under the same id.
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
        await self._producer.send(topic, key=original.key, value=original.value, headers=headers_of(death))

    def _headers(self, topic: str, event_id: str, subject: str, traceparent: TraceParent) -> list[Header]:
        return headers(
            topic, event_id, source=self._source, subject=subject, time=self._clock.now(), traceparent=traceparent
        )
