"""What the gateway needs of other parts, in its own words; adapters fit by shape, tests bring fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from millrace.contracts.events import CapMode, CostDecision, Event, Window
from millrace.ids import RequestId
from millrace.money import MicroUSD


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
