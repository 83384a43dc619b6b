"""The cost ledger beside a row lock in PostgreSQL: `python -m benchmarks.ledger [--json] [--seconds N] [--rounds N]`.

One hot budget. Rounds alternate, so that what else the machine does meets both. Kafka acknowledges from the memory of
its replicas, PostgreSQL from disk: the peer is shown both ways. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import OFFSET_END, Consumer, Message, Producer, TopicPartition

from benchmarks import row_lock
from millrace.contracts.events import CostRequest
from millrace.contracts.partitions import partition_for
from millrace.embedded.readyfile import Addresses
from millrace.ledger.topics import REQUEST_ID_HEADER, REQUESTS
from millrace.money import MicroUSD
from tests.conftest import own_stack
from tests.integration.ledger import PARTITIONS, TestLedger, ledger

BUDGETS = '[default.transcribe]\nhour = "1000000.00"\nday = "1000000.00"\n'
IN_FLIGHT = 2000
CONNECTIONS = (4, 8, 16)
STEADY_RATE = 500.0
_ID = b"I" * 32


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class Load:
    """Asks one ledger, in this thread, with requests that are encoded once: the ledger is what is measured."""

    def __init__(self, made: TestLedger) -> None:
        self._topic = made.topics.requests
        self._partition = partition_for("hot", PARTITIONS)
        request = CostRequest(
            request_id=_ID.decode(),
            op="reserve",
            account="hot",
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
        self._consumer.assign([TopicPartition(made.topics.decisions, self._partition, OFFSET_END)])
        self._consumer.poll(2.0)
        self._sent: dict[bytes, float] = {}

    def run(self, seconds: float, *, rate: float | None = None, warm_up: float = 0.0) -> tuple[float, list[float]]:
        """Answers a second and latencies in seconds, after the warm-up; `rate` None: as fast as it goes."""
        began = time.perf_counter()
        asked, latencies = 0, list[float]()
        while (now := time.perf_counter()) - began < warm_up + seconds:
            wanted = min(500, IN_FLIGHT - len(self._sent)) if rate is None else int((now - began) * rate) - asked
            for _ in range(max(0, wanted)):
                self._ask()
                asked += 1
            self._producer.poll(0)
            first = self._consumer.poll(0.001)
            for message in [] if first is None else [first, *self._consumer.consume(500, 0)]:
                at = self._sent.pop(_request_id(message), None)
                if at is not None and time.perf_counter() - began > warm_up:
                    latencies.append(time.perf_counter() - at)
        return len(latencies) / seconds, latencies

    def _ask(self) -> None:
        request_id = uuid.uuid4().hex.encode()
        self._sent[request_id] = time.perf_counter()
        value = self._encoded.replace(_ID, request_id)
        self._producer.produce(self._topic, value, b"hot", self._partition)


def _request_id(message: Message) -> bytes:
    found = [value for name, value in list(message.headers() or ()) if name == REQUEST_ID_HEADER]
    return found[0] if found and isinstance(found[0], bytes) else b""


def _ms(latencies: list[float], share: float) -> float:
    return round(sorted(latencies)[int(len(latencies) * share)] * 1000, 1) if latencies else 0.0


async def measure(stack: Addresses, folder: Path, seconds: float, rounds: int) -> dict[str, object]:
    """All figures."""
    name = f"bench{uuid.uuid4().hex[:8]}"
    async with ledger(stack, name, stack.postgres, folder, BUDGETS) as made:
        core, tables = made.start("admission"), made.start("spend")
        await asyncio.gather(core.ready(), tables.ready())
        load = await asyncio.to_thread(Load, made)
        peers = {
            n: await row_lock.flood(stack.postgres, min(5.0, seconds), connections=n, durable=True)
            for n in CONNECTIONS
        }
        best = max(peers, key=lambda n: peers[n])
        say(f"the peer does best with {best} connections")
        ours, durable, from_memory, answers = list[float](), list[float](), list[float](), list[float]()
        for number in range(rounds):
            rate, latencies = await asyncio.to_thread(load.run, seconds, warm_up=3.0)
            ours.append(rate)
            answers += latencies
            durable.append(await row_lock.flood(stack.postgres, seconds, connections=best, durable=True))
            from_memory.append(await row_lock.flood(stack.postgres, seconds, connections=best, durable=False))
            say(f"round {number + 1}: {rate:.0f} decisions/s; row lock {durable[-1]:.0f}/s, {from_memory[-1]:.0f}/s")
        await asyncio.to_thread(load.run, 20.0, rate=1.0)  # let the tables catch up
        _, calm = await asyncio.to_thread(load.run, seconds * 2, rate=STEADY_RATE, warm_up=3.0)
        peer_calm = await row_lock.steady(stack.postgres, seconds * 2, STEADY_RATE, connections=best)
    ledger_rate, row_rate = statistics.median(ours), statistics.median(durable)
    return {
        "ratio_vs_row_lock": round(ledger_rate / row_rate, 2),
        "ratio_vs_row_lock_from_memory": round(ledger_rate / statistics.median(from_memory), 2),
        "decisions_per_s": round(ledger_rate),
        "row_lock_per_s": round(row_rate),
        "row_lock_from_memory_per_s": round(statistics.median(from_memory)),
        "p50_ms_at_flood": _ms(answers, 0.5),
        "p50_ms_at_500": _ms(calm, 0.5),
        "p99_ms_at_500": _ms(calm, 0.99),
        "row_lock_p99_ms_at_500": _ms(peer_calm, 0.99),
        "rounds": rounds,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
    }


def main() -> None:
    """Measure on a stack of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true", help="only the last line")
    arguments.add_argument("--seconds", type=float, default=10.0, help="of each round")
    arguments.add_argument("--rounds", type=int, default=3, help="alternating rounds of both")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        data = Path(name) / "stack"
        data.mkdir()
        with own_stack(data) as stack:
            figures = asyncio.run(measure(stack, Path(name), chosen.seconds, chosen.rounds))
    if not chosen.json:
        for figure, value in figures.items():
            say(f"{figure:32} {value}")
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
