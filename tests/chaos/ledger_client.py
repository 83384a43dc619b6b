"""A client of the ledger as a process: asks, hears, settles, repeats; writes down every answer that it heard.

    python -m tests.chaos.ledger_client   (settings as JSON in CHAOS_CLIENT)

It speaks to Kafka itself, without the project's client, so that what it hears is what is there to be heard.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sys
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import OFFSET_END, Consumer, Message, Producer, TopicPartition
from fastavro import parse_schema, schemaless_reader, schemaless_writer

SCHEMAS = Path(__file__).parents[2] / "schemas" / "avro"
REQUEST = parse_schema(json.loads((SCHEMAS / "cost.requests.v1.avsc").read_text()), named_schemas={})
DECISION = parse_schema(json.loads((SCHEMAS / "cost.decisions.v1.avsc").read_text()), named_schemas={})
FRAME = 5  # a zero byte and the schema's id
ANSWER_WITHIN_S = 90.0
ASK_AGAIN_S = 0.5


@dataclass(frozen=True)
class Plan:
    """What a client is told."""

    kafka: str
    prefix: str
    schema_id: int
    seed: int
    accounts: list[str]
    partitions: int
    per_second: float
    heard: str
    overruns: bool


@dataclass
class Asked:
    """A reservation on its way."""

    request_id: str
    account: str
    scope: str
    amount: int
    at: float


class Client:
    """Asks at a steady rate; what was granted ends in one of the ways in which calls end."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(plan.seed)  # noqa: S311  # a schedule, no secret
        self.producer = Producer(
            {
                "bootstrap.servers": plan.kafka,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 2,
                "partitioner": "murmur2_random",
                "delivery.timeout.ms": 300_000,
                "log_level": 0,
            }
        )
        self.consumer = Consumer(
            {
                "bootstrap.servers": plan.kafka,
                "group.id": uuid.uuid4().hex,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        self.waiting: dict[str, Asked] = {}
        self.done: deque[Asked] = deque(maxlen=2000)
        self.heard = Path(plan.heard).open("a", encoding="utf-8")  # noqa: SIM115  # for the life of the process
        self.again: deque[tuple[float, Asked]] = deque()
        self.stopping = False

    def run(self) -> None:
        """Until SIGTERM; then wait for the answers that are due."""
        topic = f"{self.plan.prefix}cost.decisions"
        parts = [TopicPartition(topic, p, OFFSET_END) for p in range(self.plan.partitions)]
        for part in parts:  # a definite place, so that no answer is missed
            part.offset = self.consumer.get_watermark_offsets(part, 30)[1]
        self.consumer.assign(parts)
        began, asked, deadline = time.monotonic(), 0, float("inf")
        while not self.stopping or (self.waiting and time.monotonic() < deadline):
            now = time.monotonic()
            if self.stopping and deadline == float("inf"):
                deadline = now + ANSWER_WITHIN_S
            while not self.stopping and asked < (now - began) * self.plan.per_second and len(self.waiting) < 500:
                self._ask(now)
                asked += 1
            if len(self.waiting) >= 500:
                asked = int((now - began) * self.plan.per_second)  # an outage is not made up for
            while self.again and self.again[0][0] <= now:
                _, asked_before = self.again.popleft()
                self._send("reserve", asked_before, asked_before.amount)
            self.producer.poll(0)
            first = self.consumer.poll(0.01)
            for message in [] if first is None else [first, *self.consumer.consume(500, 0)]:
                if message.error() is None:
                    self._hear(message)
        self.producer.flush(60)
        self.heard.write(json.dumps({"unanswered": list(self.waiting)}) + "\n")
        self.heard.close()

    def _ask(self, now: float) -> None:
        account = self.chance.choice(self.plan.accounts)
        asked = Asked(uuid.uuid4().hex, account, "transcribe", self.chance.randint(1, 20_000), now)
        self.waiting[asked.request_id] = asked
        self._send("reserve", asked, asked.amount)
        if self.chance.random() < 0.05:  # nobody answered in time, or so it seemed: the same again
            self._send("reserve", asked, asked.amount)
        if self.done and self.chance.random() < 0.05:  # a repeat long after
            old = self.chance.choice(self.done)
            self._send("reserve", old, old.amount)

    def _hear(self, message: Message) -> None:
        decision = schemaless_reader(io.BytesIO((message.value() or b"")[FRAME:]), DECISION, None)
        assert isinstance(decision, dict)
        request_id = str(decision["request_id"])
        if decision["op"] != "reserve":
            return
        if decision["outcome"] == "invalid" and request_id in self.waiting:
            # A partition whose caps are not set yet answers nobody: as the real client does, ask again.
            self.again.append((time.monotonic() + ASK_AGAIN_S, self.waiting[request_id]))
        if decision["outcome"] not in ("granted", "denied"):
            return
        asked = self.waiting.pop(request_id, None)
        if asked is None:
            return
        latency = time.monotonic() - asked.at
        self.heard.write(json.dumps([request_id, decision["outcome"], round(latency, 4)]) + "\n")
        self.done.append(asked)
        if decision["outcome"] == "granted":
            self._end(asked)

    def _end(self, asked: Asked) -> None:
        fate = self.chance.random()
        if fate < 0.45:
            self._send("settle", asked, self.chance.randint(0, asked.amount))
        elif fate < 0.55:
            above = self.chance.randint(1, 500) if self.plan.overruns else 0
            self._send("settle", asked, asked.amount + above)
        elif fate < 0.85:
            self._send("release", asked, 0)
        elif fate < 0.95:
            self._send("unknown", asked, 0)
        if fate < 0.05:
            self._send("settle", asked, asked.amount // 3)  # twice, with another amount

    def _send(self, op: str, asked: Asked, amount: int) -> None:
        value = io.BytesIO()
        value.write(b"\0" + self.plan.schema_id.to_bytes(4, "big"))
        request = {
            "request_id": asked.request_id,
            "op": op,
            "account": asked.account,
            "scope": asked.scope,
            "amount_micro_usd": amount,
            "hold_ms": 3_600_000,
            "requested_by": "chaos",
            # Clients' clocks are wrong by up to a day.
            "requested_at": int((time.time() + self.chance.uniform(-86_400, 86_400)) * 1000),
        }
        schemaless_writer(value, REQUEST, request)
        topic = f"{self.plan.prefix}cost.requests"
        while True:
            try:
                self.producer.produce(topic, value.getvalue(), asked.account.encode())
            except BufferError:
                self.producer.poll(0.1)
            else:
                return


def main() -> None:
    """Run until SIGTERM."""
    client = Client(Plan(**json.loads(os.environ["CHAOS_CLIENT"])))

    def stop(*_: object) -> None:
        client.stopping = True

    signal.signal(signal.SIGTERM, stop)
    client.run()
    sys.exit(0)


if __name__ == "__main__":
    main()
