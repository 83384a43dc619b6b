"""A record that was read: its event, how it came, and the message that the event first came with. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from millrace.contracts.dead import ORIGIN_HEADER, ROUND_HEADER, Place
from millrace.contracts.events import Event, RequestReason
from millrace.kafka.records import Message
from millrace.store.ask import Ask
from millrace.store.turns import Turn
from millrace.stream.turns import turn_headers

_PLACE = re.compile(rb"[0-9]{1,18}")  # a bigint
_LONGEST_ROUND = 500  # characters; a topic's name has 249 at most

GATE_HEADER = "millrace-gate"
"""Names the gate that let a waiting message through."""
PLACE_HEADER = "millrace-place"
"""The place in the queue that a message had while it waited, a number."""

BULK_HEADER = "millrace-bulk"
"""A replay has asked for the job at first, whatever brings it back."""

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
    def in_bulk(self) -> bool:
        """A replay asked for it, now or before it waited."""
        return self.reason == "replay" or BULK_HEADER in self.message.headers

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
        if self.in_bulk:
            kept[BULK_HEADER] = "1"
        return kept if turn is None else kept | turn_headers(turn)
