"""An embed agent and a search over a real database, with models that cost nothing and count what they are asked."""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg

from millrace.clock import SystemClock
from millrace.contracts.events import ShareCreated, StageRequested
from millrace.contracts.search_api import SearchAnswer, SearchMode
from millrace.contracts.wire import Codec
from millrace.errors import ConfigurationError
from millrace.kafka.records import Message, Partition
from millrace.models.choice import Models
from millrace.models.port import Backend, Embedded, EmbeddingModel, Tariff, Use
from millrace.models.tariffs import PerToken
from millrace.sentences import split_sentences
from millrace.store.blobs import LocalBlobStore
from millrace.store.calls import CallStore
from millrace.store.cancel import CancelStore
from millrace.store.database import Database
from millrace.store.jobs import JobStore
from millrace.store.search_models import SearchModels
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
from services.api_gateway.passages import Passages
from services.api_gateway.search import Search
from services.embed_agent.adapters.pending import PgPendingTexts
from services.embed_agent.adapters.pgvector import PgVectorStore
from services.embed_agent.app import AGENT
from services.embed_agent.buying import Buyer
from services.embed_agent.domain import EmbedResult
from services.embed_agent.handler import EmbedHandler, Text
from services.embed_agent.together import AT_ONCE
from tests.support.outbox import Outbox

LEASE = timedelta(seconds=30)
OWNER = "o"


class WordsModel:
    """Counts words into as many numbers as its name says behind the dash; texts with the same words are near."""

    backend: Backend = "api"
    batch_size = 10
    text_tokens = 1000
    batch_tokens = 10_000

    def __init__(self, name: str) -> None:
        self.name = name
        self.dimensions = int(name.rpartition("-")[2])
        self.tariff: Tariff = PerToken(Decimal(10))
        self.embedded: Counter[str] = Counter()

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def embed(self, texts: Sequence[str]) -> Embedded:
        self.embedded.update(texts)
        return Embedded([self._vector(text) for text in texts], Use(tokens_in=sum(map(self.count_tokens, texts))))

    def _vector(self, text: str) -> list[float]:
        numbers = [0.1] * self.dimensions
        for word in text.lower().split():
            numbers[int(hashlib.sha256(f"{self.name}/{word}".encode()).hexdigest(), 16) % self.dimensions] += 1.0
        return numbers


class Embedding:
    """One embed agent whose own model can be changed, and one gateway's search."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], codec: Codec, folder: Path, own: str) -> None:
        self.pool, self.codec, self.ledger = pool, codec, FakeLedger()
        self.made: dict[str, WordsModel] = {}
        self.queries: dict[str, WordsModel] = {}
        self.search_models = SearchModels(Database(pool))
        self._folder = folder
        self.settle_on(own)
        asked = Models[EmbeddingModel](own, self._query_model(own), self._query_model)
        self.search = Search(Passages(pool), asked.of(None), FakeLedger(), models=asked)

    def settle_on(self, own: str) -> None:
        """Start the agent again with another model of its own."""
        database = Database(self.pool)
        stores = Stores(
            WorkStore(database, "one", LEASE),
            CallStore(database),
            JobStore(database),
            Gates("embed", WaitingStore(database, "embed")),
            WaitingStore(database, "embed"),
            CancelStore(database, "embed", ["summarize", "embed"]),
            LEASE,
        )
        clock = SystemClock()
        self.writer = Writer(Outbox(), self.codec, clock, source="test", partitions={"task.status": 4})
        self.reader = Reader(self.codec, AGENT.spec.inputs)
        core = Core[Text, EmbedResult](
            AGENT.spec,
            handler=self._handler(own, database),
            stores=stores,
            ledger=self.ledger,
            reader=self.reader,
            writer=self.writer,
            statuses=Statuses(self.writer),
            clock=clock,
            observer=Unobserved(),
            stops=Stops(),
            hands_over=False,
        )
        self.runner = JobRunner(core)

    def _handler(self, own: str, database: Database) -> EmbedHandler:
        store = PgVectorStore(database)
        return EmbedHandler(
            Models[EmbeddingModel](own, self._model(own), self._model),
            store=store,
            buyer=Buyer(store, PgPendingTexts(database), AT_ONCE, SystemClock()),
            blobs=LocalBlobStore(self._folder),
            split=split_sentences,
        )

    def _model(self, name: str) -> WordsModel:
        return self.made.setdefault(name, WordsModel(name))

    def _query_model(self, name: str) -> WordsModel:
        if name.startswith("away"):
            raise ConfigurationError(f"the model {name} is not here")
        return self.queries.setdefault(name, WordsModel(name))

    async def share(self, text: str) -> Message:
        """Share a text, and let the agent work on it."""
        event = ShareCreated(
            share_id=str(uuid.uuid4()),
            owner=OWNER,
            source_kind="text",
            text=text,
            platform="web",
            content_type="article",
            created_at=datetime.now(UTC),
        )
        await self.pool.execute(
            "INSERT INTO shares (share_id, account, owner, source_kind, platform, content_type, created_at) "
            "VALUES ($1, 'default', $2, 'text', 'web', 'article', now())",
            event.share_id,
            OWNER,
        )
        value = self.codec.encode("share.created", event)
        message = Message(Partition("share.created", 0), 5, event.share_id.encode(), value, {})
        await self.runner.execute(message)
        return message

    async def replay(self, message: Message, **options: str) -> None:
        """What `millrace replay embed` asks about a share."""
        request = StageRequested(
            share_id=message.key.decode(),
            account="default",
            stage="embed",
            reason="replay",
            origin_topic=message.at.topic,
            origin_key=message.key,
            origin_value=message.value,
            origin_headers={},
            options=options,
            force=False,
            requested_by="test",
            requested_at=datetime.now(UTC),
        )
        value = self.codec.encode("embed.requested", request)
        await self.runner.execute(Message(Partition("embed.requested", 0), 9, message.key, value, {}))

    async def ask(self, query: str, mode: SearchMode, *, two_phase: bool = False) -> SearchAnswer:
        """Search as the gateway does."""
        return await self.search.answer(
            query, owner=OWNER, account="default", limit=100, mode=mode, two_phase=two_phase
        )
