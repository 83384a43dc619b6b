"""What the gateway needs of other parts, in its own words; adapters fit by shape, tests bring fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from millrace.contracts.events import Event


@dataclass(frozen=True)
class OutboxMessage:
    """A message that Kafka shall have: written with the rows it tells about, published afterwards."""

    topic: str
    key: bytes
    value: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class OutboxRow:
    """A message in the outbox; `seq` is the order in which messages were written."""

    seq: int
    topic: str
    key: bytes | None
    value: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class OutboxLag:
    """Messages that Kafka has not confirmed yet, and when the oldest was written."""

    messages: int
    oldest: datetime | None


class Encoder(Protocol):
    """Turns an event into the bytes of its topic, without I/O."""

    def encode(self, topic: str, event: Event) -> bytes:
        """Framed Avro."""
        ...


class Publisher(Protocol):
    """Sends messages and knows which of them Kafka has for certain."""

    async def publish(self, rows: Sequence[OutboxRow]) -> Sequence[str | None]:
        """Send rows in their order and wait for each one's confirmation.

        Returns, row by row, None when all in-sync replicas have it, otherwise why that is not certain.
        """
        ...
