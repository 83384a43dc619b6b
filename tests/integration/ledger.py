"""A cost ledger of the test's own on the real parts: its topics, its workers as processes, and an auditor."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import CostAlert, CostDecision, CostRequest, CostSpend, Event
from millrace.contracts.provision import apply_topics, register_schemas
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from millrace.kafka.producer import open_producer
from millrace.ledger.client import LedgerClient, open_ledger
from millrace.ledger.topics import ALERTS, DECISIONS, REQUESTS, SPEND, LedgerTopics
from millrace.store.migrate import migrate
from services.cost_ledger.log import LogSetup
from services.cost_ledger.settings import LedgerSettings
from services.cost_ledger.topics import ledger_catalog
from tests.support.database import own_database
from tests.support.kafka import ends, read_all
from tests.support.process import Service

PARTITIONS = 4


class Found(NamedTuple):
    """A record and its place."""

    partition: int
    offset: int
    event: Event


@dataclass
class TestLedger:
    """A ledger with names of its own."""

    __test__ = False

    stack: Addresses
    prefix: str
    database: str
    folder: Path
    codec: Codec
    budgets: str = ""
    workers: list[Service] = field(default_factory=list)

    @property
    def topics(self) -> LedgerTopics:
        return LedgerTopics(self.prefix)

    @property
    def app_id(self) -> str:
        return f"{self.prefix}ledger"

    def setup(self, owner: str) -> LogSetup:
        """What a partition's log is made of."""
        return LogSetup(self.stack.cluster, self.topics, self.app_id, owner, self.codec)

    def start(self, role: str = "all", *, later_ms: int | None = None) -> Service:
        """Start a worker; it is killed at the end of the test. With `later_ms`, its log's time is so much later."""
        budgets = self.folder / "budgets.toml"
        budgets.write_text(self.budgets)
        env = {
            "MILLRACE_KAFKA": self.stack.kafka,
            "MILLRACE_REGISTRY": self.stack.registry,
            "MILLRACE_POSTGRES": self.database,
            "MILLRACE_LEDGER_TOPIC_PREFIX": self.prefix,
            "MILLRACE_LEDGER_APP_ID": self.app_id,
            "MILLRACE_BUDGETS": str(budgets),
            "MILLRACE_LEDGER_ROLE": role,
        }
        log = self.folder / f"worker-{len(self.workers)}.log"
        if later_ms is None:
            worker = Service("services.cost_ledger", env, log)
        else:
            worker = Service("tests.integration.ledger_at", env | {"MILLRACE_TEST_SHIFT_MS": str(later_ms)}, log)
        self.workers.append(worker)
        return worker

    @asynccontextmanager
    async def client(self, *, answer_within_s: float = 60.0) -> AsyncIterator[LedgerClient]:
        """A client of this ledger, patient enough for a restart."""
        async with (
            open_producer(self.stack.cluster) as producer,
            open_ledger(
                self.stack.cluster,
                self.codec,
                producer,
                source="test",
                topics=self.topics,
                answer_within_s=answer_within_s,
                ask_again_s=1.0,
            ) as client,
        ):
            yield client

    async def configure(self, topic: str, name: str, value: str) -> None:
        """Set one of a topic's settings."""
        setting = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[setting])
        admin = AdminClient({"bootstrap.servers": self.stack.kafka})
        for changed in admin.incremental_alter_configs([resource]).values():
            await asyncio.to_thread(changed.result, 10)

    def count(self, topic: str, partition: int) -> int:
        """How many records a partition still holds; blocking."""
        return sum(message.partition() == partition for message in read_all(self.stack.kafka, topic))

    def ends(self, topic: str) -> list[int]:
        """Where each partition of a topic ends; blocking."""
        return ends(self.stack.kafka, topic)

    async def read(self, topic: str, schema: str) -> list[Found]:
        """Everything committed on a topic, decoded."""
        records = await asyncio.to_thread(read_all, self.stack.kafka, topic)
        return [
            Found(m.partition() or 0, m.offset() or 0, await self.codec.decode(schema, m.value() or b""))
            for m in records
        ]

    async def decisions(self) -> list[tuple[int, CostDecision]]:
        """All answers with their partition, in order within each."""
        found = await self.read(self.topics.decisions, DECISIONS)
        return [(one.partition, one.event) for one in found if isinstance(one.event, CostDecision)]

    async def requests(self) -> list[tuple[int, CostRequest]]:
        """All requests that can be read."""
        found = await self.read(self.topics.requests, REQUESTS)
        return [(one.partition, one.event) for one in found if isinstance(one.event, CostRequest)]

    async def spend(self) -> dict[tuple[str, str, str, str], CostSpend]:
        """The latest row of every window."""
        found = await self.read(self.topics.spend, SPEND)
        rows = [one.event for one in found if isinstance(one.event, CostSpend)]
        return {(row.account, row.scope, row.window, row.start.isoformat()): row for row in rows}

    async def alerts(self) -> list[CostAlert]:
        """All alerts, repeats too, in order within each partition."""
        found = await self.read(self.topics.alerts, ALERTS)
        return [one.event for one in found if isinstance(one.event, CostAlert)]


@asynccontextmanager
async def ledger(stack: Addresses, name: str, database: str, folder: Path, budgets: str) -> AsyncIterator[TestLedger]:
    """A ledger whose topics and schemas are there; its workers are killed at the end."""
    catalog = Catalog.load()
    settings = LedgerSettings(
        kafka=stack.kafka,
        registry=stack.registry,
        postgres=database,
        ledger_topic_prefix=f"{name}.",
        ledger_app_id=f"{name}.ledger",
    )
    await apply_topics(stack.cluster, ledger_catalog(catalog, settings), replication=1, report=lambda _: None)
    await asyncio.to_thread(register_schemas, stack.registry, catalog, lambda _: None)
    registry = Registry(stack.registry)
    codec = await Codec.connect(registry, catalog, (REQUESTS, DECISIONS, SPEND, ALERTS))
    migrate(database)
    made = TestLedger(stack, f"{name}.", database, folder, codec, budgets)
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.end()
        registry.close()


@asynccontextmanager
async def running_ledger(stack: Addresses, folder: Path, budgets: str) -> AsyncIterator[TestLedger]:
    """A ledger with a worker and a database of its own, for a whole module whose tests use accounts of their own."""
    name = f"t{uuid.uuid4().hex[:10]}"
    async with own_database(stack.postgres, name) as url, ledger(stack, name, url, folder, budgets) as made:
        await made.start().ready()
        yield made


@dataclass(frozen=True)
class Audit:
    """What an auditor who only reads the answers finds; amounts in micro-US-dollars."""

    peak: dict[tuple[str, str, str], int]
    used: Counter[tuple[str, str, str]]
    answers: dict[str, set[str]]


def audit(decisions: Sequence[tuple[int, CostDecision]]) -> Audit:
    """Add up answers in log order, on their words alone; fails where a request was decided twice or left out."""
    offsets: dict[int, list[int]] = defaultdict(list)
    used: Counter[tuple[str, str, str]] = Counter()
    peak: dict[tuple[str, str, str], int] = defaultdict(int)
    open_: dict[tuple[str, str], int] = {}
    answers: dict[str, set[str]] = defaultdict(set)
    for partition, decision in decisions:
        if decision.outcome == "day-opened":
            continue
        offsets[partition].append(decision.request_offset)
        key = (decision.account, decision.request_id)
        if decision.op == "reserve":
            answers[decision.request_id].add(decision.outcome)
        change = 0
        if decision.outcome == "granted" and key not in open_:
            change = open_[key] = decision.amount_micro_usd
        elif decision.outcome == "settled" and decision.previous == "held":
            change = decision.actual_micro_usd - open_[key]
        elif decision.outcome == "released" and decision.previous in ("held", "unconfirmed"):
            change = -open_[key]
        if decision.hour_start is not None:
            window = (decision.account, decision.scope, decision.hour_start.isoformat())
            used[window] += change
            peak[window] = max(peak[window], used[window])
    for partition, seen in offsets.items():
        assert seen == list(range(len(seen))), f"partition {partition}: decided twice, or left out"
    return Audit(peak, used, answers)
