"""What the gateway needs of other parts, in its own words; adapters fit by shape, tests bring fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from millrace.contracts.events import CapMode, CostDecision, Event, Window
from millrace.ids import RequestId
from millrace.money import MicroUSD


@dataclass(frozen=True)
class OutboxMessage:
    """A message that Kafka shall have: written with the rows it tells about, published afterwards.

    Without a value it is a tombstone. `partition` is named where the topic is not partitioned by the key.
    """

    topic: str
    key: bytes
    value: bytes | None
    headers: Mapping[str, str]
    partition: int | None = None


@dataclass(frozen=True)
class OutboxRow:
    """A message in the outbox; `seq` is the order in which messages were written."""

    seq: int
    topic: str
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, str]
    partition: int | None = None


@dataclass(frozen=True)
class OutboxLag:
    """Messages that Kafka has not confirmed yet, and when the oldest was written."""

    messages: int
    oldest: datetime | None


@dataclass(frozen=True)
class Unconfirmed:
    """Why it is not certain that Kafka has a message, in words.

    `timeout`: no confirmation in time, it may be there; `refused`: of this message's own, another one may be taken;
    `away`: the broker could not be reached, or could not take anything.
    """

    reason: str
    why: Literal["timeout", "refused", "away"]


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


class Gate(Protocol):
    """Says whether Kafka is there for messages."""

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed: what is new is no reason to hurry then."""
        ...

    async def opened(self) -> None:
        """Wait until messages may be sent."""
        ...


class Kafka(Protocol):
    """A client of Kafka that says of each message what became of it."""

    async def send(self, rows: Sequence[OutboxRow]) -> Sequence[Unconfirmed | None]:
        """Send rows in their order; for each None when it is confirmed, else why not."""
        ...

    async def metadata(self) -> int:
        """Number of brokers that answer.

        :raises Unavailable: none does.
        """
        ...

    async def close(self) -> None:
        """Give up what is not confirmed."""
        ...


class CapLedger(Protocol):
    """Takes changes of caps."""

    async def set_cap(
        self,
        request_id: RequestId,
        *,
        account: str,
        scope: str,
        window: Window,
        cap: MicroUSD | None,
        mode: CapMode = "enforce",
    ) -> list[CostDecision]:
        """Set a cap, None for no limit; returns the decision of every partition concerned.

        :raises Unavailable: no decision in time; the cap may still change.
        """
        ...


class Reconciler(Protocol):
    """Takes what an unconfirmed call really cost."""

    async def reconcile(self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD) -> CostDecision:
        """Returns what the ledger decided.

        :raises Unavailable: no decision in time; it may still be decided.
        """
        ...
