"""Load for one ledger: reserves on one hot account, and what is heard of them."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from millrace.contracts.events import CostRequest
from millrace.contracts.partitions import partition_for
from millrace.ledger.topics import REQUEST_ID_HEADER, REQUESTS
from millrace.money import MicroUSD
from tests.integration.ledger import PARTITIONS, TestLedger

ACCOUNT: Final = "hot"
PARTITION: Final = partition_for(ACCOUNT, PARTITIONS)
IN_FLIGHT: Final = 2000
_ID: Final = b"I" * 32


class Load:
    """Asks one ledger, in this thread, with requests that are encoded once: the ledger is what is measured.

    Nothing is ever settled, so every grant leaves an open hold.
    """

    def __init__(self, made: TestLedger) -> None:
        self._topic = made.topics.requests
        request = CostRequest(
            request_id=_ID.decode(),
            op="reserve",
            account=ACCOUNT,
            scope="transcribe",
            amount_micro_usd=MicroUSD(10),
            hold_ms=3_600_000,
            requested_by="benchmark",
            requested_at=datetime.now(UTC),
        )
        self._encoded = made.codec.encode(REQUESTS, request)
        kafka = made.stack.kafka
        self._producer = Producer({"bootstrap.servers": kafka, "acks": "all", "linger.ms": 1})
        self._consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex})
        decisions = TopicPartition(made.topics.decisions, PARTITION)
        decisions.offset = self._consumer.get_watermark_offsets(decisions, 10)[1]  # a definite place
        self._consumer.assign([decisions])
        self._sent: dict[bytes, float] = {}

    def run(self, seconds: float, *, rate: float | None = None, warm_up: float = 0.0) -> tuple[float, list[float]]:
        """Answers a second and latencies in seconds, after the warm-up; `rate` None: as fast as it goes."""
        began = time.perf_counter()
        asked, latencies = 0, list[float]()
        while (now := time.perf_counter()) - began < warm_up + seconds:
            wanted = min(500, IN_FLIGHT - len(self._sent)) if rate is None else int((now - began) * rate) - asked
            asked += self._ask(wanted)
            heard = self._hear()
            if now - began > warm_up:
                latencies += heard
        return len(latencies) / seconds, latencies

    def fill(self, grants: int) -> None:
        """Ask until so many more were granted, and nothing is in flight."""
        heard = asked = 0
        while heard < grants:
            asked += self._ask(min(500, IN_FLIGHT - len(self._sent), grants - asked))
            heard += len(self._hear())

    def first_answer_s(self, within_s: float = 60.0) -> float:
        """Ask once, and wait for that answer: seconds from now."""
        began = time.perf_counter()
        self._sent.clear()
        self._ask(1)
        while not self._hear():
            if time.perf_counter() - began > within_s:
                raise TimeoutError(f"no answer within {within_s} s")
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing is left in transit."""
        self._producer.flush(10)
        self._consumer.close()

    def _ask(self, count: int) -> int:
        for _ in range(count):
            request_id = uuid.uuid4().hex.encode()
            self._sent[request_id] = time.perf_counter()
            self._producer.produce(self._topic, self._encoded.replace(_ID, request_id), ACCOUNT.encode(), PARTITION)
        self._producer.poll(0)
        return max(0, count)

    def _hear(self) -> list[float]:
        """Latencies of the answers that have come."""
        first = self._consumer.poll(0.001)
        latencies = []
        for message in [] if first is None else [first, *self._consumer.consume(500, 0)]:
            at = self._sent.pop(_request_id(message), None)
            if at is not None:
                latencies.append(time.perf_counter() - at)
        return latencies


def _request_id(message: Message) -> bytes:
    found = [value for name, value in list(message.headers() or ()) if name == REQUEST_ID_HEADER]
    return found[0] if found and isinstance(found[0], bytes) else b""
