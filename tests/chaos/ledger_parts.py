"""The ledger that chaos hurts: a stack of its own, workers and clients as processes, and what they heard."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from fastavro import schemaless_writer

from millrace.contracts.catalog import Catalog
from millrace.contracts.partitions import partition_for
from millrace.contracts.provision import apply_topics, register_schemas
from millrace.contracts.registry import Registry
from millrace.embedded.readyfile import Addresses
from millrace.store.migrate import migrate
from tests.chaos.ledger_client import REQUEST, Plan
from tests.chaos.worker import Worker
from tests.support.brokers import Brokers, three_brokers
from tests.support.process import begin
from tests.support.stack import own_stack

PARTITIONS: Final = 4
CLIENTS: Final = 3
PER_SECOND: Final = 200.0
"""By client: enough to fight for every cap, little enough to leave two cores for the ledger."""
FIRST_CAP: Final = 500_000
BUDGETS: Final = '[default.transcribe]\nhour = "0.50"\nday = "1000"\n'


class Ledger:
    """A stack of its own, workers, and clients."""

    def __init__(
        self, stack: Addresses, folder: Path, schema_id: int, control: str | None, brokers: Brokers | None
    ) -> None:
        self.stack = stack
        self.brokers = brokers
        self.folder = folder
        self.schema_id = schema_id
        self.control = control
        self.exits: Counter[int] = Counter()
        self.workers: list[Worker] = []
        self.clients: list[subprocess.Popen[bytes]] = []
        # Accounts of different partitions, so that every worker has some.
        names = (f"account-{number}" for number in range(1000))
        self.accounts = list({partition_for(name, PARTITIONS): name for name in names}.values())
        self._caps = Producer({"bootstrap.servers": stack.kafka, "partitioner": "murmur2_random", "log_level": 0})

    @property
    def environment(self) -> dict[str, str]:
        """Where everything is."""
        return {
            "MILLRACE_KAFKA": self.stack.kafka,
            "MILLRACE_REGISTRY": self.stack.registry,
            "MILLRACE_POSTGRES": self.stack.postgres,
        }

    def add_worker(self) -> None:
        """One more."""
        budgets = self.folder / "budgets.toml"
        budgets.write_text(BUDGETS)
        env = {**self.environment, "MILLRACE_BUDGETS": str(budgets), "MILLRACE_START_TIMEOUT_S": "60"}
        log = self.folder / f"worker-{len(self.workers)}.log"
        if self.control is None:
            self.workers.append(Worker("services.cost_ledger", env, log))
        else:
            self.workers.append(Worker("tests.chaos.ledger_worker", env, log, self.control))

    def drop_worker(self) -> None:
        """Let the last one leave, in order."""
        worker = self.workers.pop()
        worker.signal(signal.SIGTERM)
        try:
            worker.process.wait(20)
        except subprocess.TimeoutExpired:
            worker.signal(signal.SIGKILL)
            worker.process.wait(10)
        self.exits += worker.exits

    def tend(self) -> None:
        """What a supervisor would do."""
        if self.brokers is not None:
            self.brokers.tend()
        for worker in self.workers:
            worker.tend(time.monotonic())

    def start_clients(self, seed: int) -> None:
        """Let them ask."""
        for number in range(CLIENTS):
            plan = Plan(
                self.stack.kafka,
                "",
                self.schema_id,
                seed * 100 + number,
                self.accounts,
                PARTITIONS,
                PER_SECOND,
                str(self.folder / f"heard-{number}.jsonl"),
                overruns=number == 0,
            )
            program = (sys.executable, "-m", "tests.chaos.ledger_client")
            environment = {"CHAOS_CLIENT": json.dumps(asdict(plan))}
            self.clients.append(begin(program, self.folder / f"client-{number}.log", environment))

    def heard(self) -> tuple[list[tuple[str, str]], list[float], int]:
        """Answers by request, latencies in seconds, and how many never came."""
        answers: list[tuple[str, str]] = []
        latencies: list[float] = []
        unanswered = 0
        for path in self.folder.glob("heard-*.jsonl"):
            for line in path.read_text().splitlines():
                one = json.loads(line)
                if isinstance(one, dict):
                    unanswered += len(one["unanswered"])
                else:
                    answers.append((one[0], one[1]))
                    latencies.append(one[2])
        return answers, latencies, unanswered

    def raise_caps(self, cap: int) -> None:
        """A request in the log, for every account."""
        for account in self.accounts:
            value = io.BytesIO()
            value.write(b"\0" + self.schema_id.to_bytes(4, "big"))
            request = {
                "request_id": f"cap-{uuid.uuid4().hex}",
                "op": "set-cap",
                "account": account,
                "scope": "transcribe",
                "window": "hour",
                "cap_micro_usd": cap,
                "mode": "enforce",
                "requested_by": "chaos",
                "requested_at": int(time.time() * 1000),
            }
            schemaless_writer(value, REQUEST, request)
            self._caps.produce("cost.requests", value.getvalue(), account.encode())
        self._caps.poll(0)

    def restart_broker(self, chance: random.Random) -> None:
        """kill -9; it is started again on the same data."""
        if self.brokers is not None:
            self.brokers.kill_one(chance)
            return
        ready = json.loads((self.folder / "stack" / "ready.json").read_text())
        os.kill(int(ready["pids"]["kafka"]["pid"]), signal.SIGKILL)

    def behind(self) -> int | None:
        """Requests that are not decided, by the group's offsets; None: the broker does not say."""
        group = "millrace-cost-ledger-admission"
        consumer = Consumer({"bootstrap.servers": self.stack.kafka, "group.id": group, "log_level": 0})
        try:
            parts = [TopicPartition("cost.requests", p) for p in range(PARTITIONS)]
            done = consumer.committed(parts, 5)
            ends = [consumer.get_watermark_offsets(part, 5)[1] for part in parts]
        except KafkaException:
            return None
        finally:
            consumer.close()
        return sum(end - max(part.offset, 0) for part, end in zip(done, ends, strict=True))

    def end(self) -> None:
        """Nothing is left running."""
        for client in self.clients:
            if client.poll() is None:
                client.kill()
            client.wait(10)
        for worker in self.workers:
            worker.end()
            self.exits += worker.exits


@asynccontextmanager
async def open_ledger(folder: Path, control: str | None, brokers: int = 1) -> AsyncIterator[Ledger]:
    """A stack with topics, schemas and tables, its brokers three if asked for; everything is killed at the end."""
    data, cluster_data = folder / "stack", folder / "brokers"
    data.mkdir()
    cluster_data.mkdir()
    several: AbstractContextManager[Brokers | None] = three_brokers(cluster_data) if brokers > 1 else nullcontext()
    with own_stack(data) as own, Registry(own.registry) as registry, several as kafka:
        catalog = Catalog.load()
        stack = own if kafka is None else dataclasses.replace(own, kafka=kafka.address)
        await apply_topics(stack.cluster, catalog, replication=brokers, report=lambda _: None)
        await asyncio.to_thread(register_schemas, stack.registry, catalog, lambda _: None)
        await asyncio.to_thread(migrate, stack.postgres)
        schema_id = registry.lookup("cost.requests-value", catalog.written_schema_for("cost.requests").text)
        assert schema_id is not None
        ledger = Ledger(stack, folder, schema_id, control, kafka)
        try:
            yield ledger
        finally:
            ledger.end()
