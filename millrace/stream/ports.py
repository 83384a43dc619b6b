"""What the pool asks of Faust: its streams, and its consumer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from millrace.kafka.records import Partition


class RawMessage(Protocol):
    """The part of Faust's message that the pool reads."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes | None] | list[tuple[str, bytes | None]] | None
    generation_id: int


class StreamEvent(Protocol):
    """The part of Faust's event that the pool uses."""

    @property
    def message(self) -> RawMessage:
        """The record."""
        ...

    def ack(self) -> object:
        """Let the offset be committed."""
        ...


class Stream(Protocol):
    """The part of Faust's stream that the pool uses."""

    def noack(self) -> Stream:
        """Leave acknowledging to us."""
        ...

    def events(self) -> AsyncIterator[StreamEvent]:
        """Events as they are delivered."""
        ...


class Source(Protocol):
    """What the pool needs to know of the consumer."""

    def generation(self) -> int:
        """Number of the present assignment."""
        ...

    def flowing(self) -> bool:
        """Records are being delivered: no rebalance is under way."""
        ...

    def starts(self) -> Mapping[Partition, int]:
        """First offset of each partition in the present assignment."""
        ...
