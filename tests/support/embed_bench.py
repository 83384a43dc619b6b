"""Embed agents over the real database, with a model that bills; shares, account and model are a test's own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from millrace.clock import SystemClock
from millrace.contracts.events import ShareCreated
from millrace.contracts.wire import Codec
from millrace.kafka.records import Message, Partition
from millrace.models.choice import Models
from millrace.models.port import Backend, Embedded, EmbeddingModel, Use
from millrace.models.tariffs import PerToken
from millrace.money import MicroUSD
from millrace.store.blobs import LocalBlobStore
from millrace.store.calls import CallStore
from millrace.store.cancel import CancelStore
from millrace.store.database import Database, Record
from millrace.store.jobs import JobStore
from millrace.store.waiting import WaitingStore
from millrace.store.work import WorkStore
from millrace.stream.cancel import Stops
from millrace.stream.core import Core, Stores
from millrace.stream.dead_breaker import Unobserved
from millrace.stream.gates import Gates
from millrace.stream.reader import Reader
from millrace.stream.runner import JobRunner
from millrace.stream.statuses import Statuses
from millrace.stream.writer import Writer
from millrace.testing.ledger import FakeLedger
from services.embed_agent.adapters.pending import PgPendingTexts
from services.embed_agent.adapters.pgvector import PgVectorStore
from services.embed_agent.app import AGENT
from services.embed_agent.buying import Buyer
from services.embed_agent.domain import EmbedResult
from services.embed_agent.handler import EmbedHandler, Text
from services.embed_agent.together import Patience
from tests.support.outbox import Outbox

LEASE = timedelta(seconds=30)
DOLLARS = Decimal(3)


class BillingModel:
    """Two numbers for each text; three dollars a million tokens, which are words. `invoice` has what was asked."""

    backend: Backend = "api"
    dimensions = 0
    text_tokens = 1000

    def __init__(self, name: str, *, batch_size: int) -> None:
        self.name = name
        self.batch_size = batch_size
        self.batch_tokens = 2000
        self.tariff = PerToken(DOLLARS)
        self.invoice: list[list[str]] = []
        self.before: Callable[[Sequence[str]], None] = lambda _: None
        self.step: Callable[[], None] = lambda: None

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def embed(self, texts: Sequence[str]) -> Embedded:
        self.before(texts)
        self.step()
        await asyncio.sleep(0)
        self.invoice.append(list(texts))
        self.step()
        return Embedded([[float(len(text)), 1.0] for text in texts], self._use(texts))

    def billed(self) -> MicroUSD:
        """All that it has billed."""
        return MicroUSD(sum(self.tariff.cost(self._use(texts)) for texts in self.invoice))

    def _use(self, texts: Sequence[str]) -> Use:
        return Use(tokens_in=sum(map(self.count_tokens, texts)))


class EmbedBench:
    """Jobs of one account, worked on by as many agents as a test makes."""

    def __init__(
        self, database: Database, codec: Codec, folder: Path, *, batch: int = 5, wait_s: float = 300
    ) -> None:
        self.database, self.codec, self.folder = database, codec, folder
        self.account = f"a-{uuid.uuid4().hex[:8]}"
        self.model = BillingModel(f"m-{uuid.uuid4().hex[:8]}", batch_size=batch)
        self.patience = Patience(timedelta(seconds=wait_s))
        self.outbox, self.ledger = Outbox(), FakeLedger()

    def message(self, text: str) -> Message:
        """A share of a text."""
        share = str(uuid.uuid4())
        event = ShareCreated(
            share_id=share,
            account=self.account,
            owner="o",
            source_kind="text",
            text=text,
            platform="web",
            content_type="article",
            created_at=datetime.now(UTC),
        )
        value = self.codec.encode("share.created", event)
        return Message(Partition("share.created", 0), 5, share.encode(), value, {})

    def agent(
        self,
        database: Database | None = None,
        owner: str = "one",
        patience: Patience | None = None,
        model: EmbeddingModel | None = None,
    ) -> JobRunner[Text, EmbedResult]:
        """An agent; `database` may die, `owner` tells it from others."""
        db, clock = database or self.database, SystemClock()
        store = PgVectorStore(db)
        handler = EmbedHandler(
            Models[EmbeddingModel]((model or self.model).name, model or self.model),
            store=store,
            buyer=Buyer(store, PgPendingTexts(db), patience or self.patience, clock),
            blobs=LocalBlobStore(self.folder),
            split=lambda text: [text],
        )
        stores = Stores(
            WorkStore(db, owner, LEASE),
            CallStore(db),
            JobStore(db),
            Gates("embed", WaitingStore(db, "embed")),
            WaitingStore(db, "embed"),
            CancelStore(db, "embed", ["embed"]),
            LEASE,
        )
        writer = Writer(self.outbox, self.codec, clock, source="test", partitions={"task.status": 4})
        core = Core(
            AGENT.spec,
            handler=handler,
            stores=stores,
            ledger=self.ledger,
            reader=Reader(self.codec, AGENT.spec.inputs),
            writer=writer,
            statuses=Statuses(writer),
            clock=clock,
            observer=Unobserved(),
            stops=Stops(),
        )
        return JobRunner(core)

    async def rows(self, sql: str, *args: object) -> list[Record]:
        return list(await self.database.fetch(sql, *args))

    async def job(self, message: Message) -> Record:
        (row,) = await self.rows("SELECT * FROM jobs WHERE share_id = $1", message.key.decode())
        return row

    async def states(self) -> list[str]:
        """Of all jobs, sorted."""
        rows = await self.rows("SELECT state FROM jobs WHERE account = $1 ORDER BY state", self.account)
        return [row["state"] for row in rows]

    async def due(self) -> list[Message]:
        """The messages whose time has come; the mover would publish them."""
        rows = await self.rows("DELETE FROM waiting WHERE account = $1 AND due <= now() RETURNING *", self.account)
        return [
            Message(
                Partition(row["topic"], 0),
                0,
                row["key"],
                row["value"],
                {name: text.encode() for name, text in row["headers"].items()},
            )
            for row in sorted(rows, key=lambda row: row["seq"])
        ]

    async def all_due(self) -> list[Message]:
        """The same when all of their time has passed."""
        await self.database.execute("UPDATE waiting SET due = now() WHERE account = $1", self.account)
        await self.database.execute(
            "UPDATE pending_texts SET due = now(), not_before = now() WHERE account = $1", self.account
        )
        return await self.due()

    async def expire_leases(self) -> None:
        await self.database.execute(
            "UPDATE work SET lease_until = now() - interval '1 s' WHERE result IS NULL AND stage = 'embed'"
        )

    async def costs(self) -> dict[str, int]:
        """What the works have cost by their rows, what the calls have, and what the ledger was told."""
        (works,) = await self.rows(
            "SELECT coalesce(sum(cost_micro_usd), 0)::bigint AS sum FROM work "
            "WHERE work_key IN (SELECT work_key FROM jobs WHERE account = $1)",
            self.account,
        )
        (calls,) = await self.rows(
            "SELECT coalesce(sum(actual_micro_usd), 0)::bigint AS sum FROM calls "
            "WHERE account = $1 AND state IN ('answered', 'settled')",
            self.account,
        )
        settled = [int(end.split()[1]) for end in self.ledger.ended.values() if end.startswith("settled")]
        return {"works": works["sum"], "calls": calls["sum"], "ledger": sum(settled)}
