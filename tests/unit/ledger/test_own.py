from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from millrace.cluster import Cluster
from millrace.contracts.events import CostRequest, Event
from millrace.ledger.topics import LedgerTopics
from services.cost_ledger import own
from services.cost_ledger.log import LogSetup
from services.cost_ledger.own import OwnRequests

Delivered = Callable[[None, None], None]


class SmallQueue:
    """As librdkafka's producer, whose queue holds 100,000 messages; this one's holds three."""

    def __init__(self, *_: object, **__: object) -> None:
        self.queue: list[Delivered] = []
        self.sent: list[bytes] = []

    def produce(self, topic: str, value: bytes, *_: object, on_delivery: Delivered, **__: object) -> None:
        if len(self.queue) == 3:
            raise BufferError("Local: Queue full")
        self.queue.append(on_delivery)
        self.sent.append(value)

    def poll(self, timeout_s: float) -> None:
        self.queue.pop(0)(None, None)

    def flush(self, timeout_s: float) -> int:
        while self.queue:
            self.poll(0)
        return 0


class Ids:
    """Encodes a request as its id."""

    def encode(self, topic: str, event: Event) -> bytes:
        assert isinstance(event, CostRequest)
        return event.request_id.encode()


def test_more_holds_may_run_out_at_once_than_the_producer_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    made = SmallQueue()
    monkeypatch.setattr(own, "Producer", lambda *_, **__: made)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    expiries = [
        CostRequest(
            request_id=str(number), op="expire", account="a", scope="s", requested_by="cost_ledger", requested_at=now
        )
        for number in range(10)
    ]
    OwnRequests(LogSetup(Cluster(""), LedgerTopics(), "app", "me", Ids())).append(0, expiries)
    assert made.sent == [b"%d" % number for number in range(10)]
    assert made.queue == []
