"""A gateway over the real Kafka, registry and PostgreSQL, in the test's own process."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import asyncpg
import httpx
from confluent_kafka import Consumer, Message, TopicPartition

from millrace.clock import SystemClock
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import CapMode, CostDecision, Window
from millrace.contracts.provision import apply_topics, register_schemas
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from millrace.errors import Unavailable
from millrace.ids import RequestId
from millrace.ledger.client import LedgerClient
from millrace.models.wordllama import WordLlamaModel
from millrace.money import MicroUSD
from millrace.store.blobs import LocalBlobStore
from millrace.store.pool import open_pool
from millrace.testing.ledger import FakeLedger
from services.api_gateway.app import create_app
from services.api_gateway.cancel import CancelDesk
from services.api_gateway.caps import CapDesk
from services.api_gateway.connect import reliable
from services.api_gateway.dead_letters import DeadLetterDesk
from services.api_gateway.deletion import DeleteDesk
from services.api_gateway.digest import DigestDesk
from services.api_gateway.digest_rows import DigestRows
from services.api_gateway.duplicates import DuplicateDesk
from services.api_gateway.forms import Limits
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.intake import Intake
from services.api_gateway.lags import Lags
from services.api_gateway.origins import TOPICS
from services.api_gateway.outbox import Drainer
from services.api_gateway.passages import SEARCH_SETTINGS, Passages
from services.api_gateway.producer import KafkaPublisher
from services.api_gateway.removal import Remover
from services.api_gateway.resources import Resources
from services.api_gateway.retries import RetryDesk
from services.api_gateway.search import Search
from services.api_gateway.shares import TOPIC, ShareDesk
from services.api_gateway.spoken import Spoken
from services.api_gateway.unconfirmed import UnconfirmedDesk
from services.api_gateway.uploads import hold
from services.api_gateway.watcher import Watcher

MAX_UPLOAD = 3_000_000


class SilentLedger:
    """A ledger that does not answer people."""

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
        raise Unavailable("the cost ledger does not answer; nothing was called")

    async def reconcile(self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD) -> CostDecision:
        raise Unavailable("the cost ledger does not answer; nothing was called")


@dataclass(frozen=True)
class Gateway:
    """A gateway under test; `drainer` does not run by itself. Every gateway is of an owner of its own."""

    parts: Resources
    http: httpx.AsyncClient
    codec: Codec
    ledger: FakeLedger
    model: WordLlamaModel
    kafka: str

    @property
    def pool(self) -> asyncpg.Pool[asyncpg.Record]:
        return self.parts.pool


async def provision(stack: Addresses) -> None:
    """Topics and schemas; may be repeated."""
    catalog = Catalog.load()
    await apply_topics(stack.cluster, catalog, report=lambda _: None)
    await asyncio.to_thread(register_schemas, stack.registry, catalog, lambda _: None)


@asynccontextmanager
async def open_gateway(
    stack: Addresses,
    database: str,
    folder: Path,
    model: WordLlamaModel,
    deciding: LedgerClient | SilentLedger | None = None,
) -> AsyncIterator[Gateway]:
    """Topics, schemas and the database's tables must be there.

    :param deciding: who decides about caps and unconfirmed calls; by default nobody.
    """
    deciding = deciding or SilentLedger()
    catalog = Catalog.load()
    codec = await Codec.connect(
        Registry(stack.registry),
        catalog,
        [
            *TOPICS.values(),
            *(f"{stage}.requested" for stage in catalog.stages),
            "summary.ready",
            "task.status",
        ],
    )
    clock, blobs, ledger = SystemClock(), LocalBlobStore(folder), FakeLedger()
    publisher = reliable(KafkaPublisher(stack.cluster, max_message_bytes=catalog.max_message_bytes))
    probing = asyncio.create_task(publisher.run())
    async with open_pool(database) as pool, open_pool(database, settings=SEARCH_SETTINGS) as searching:
        drainer = Drainer(pool, publisher, publisher)
        search = Search(Passages(searching), model, ledger, spoken=Spoken(pool, blobs))
        parts = Resources(
            owner=f"owner-{uuid.uuid4().hex[:8]}",
            catalog=catalog,
            clock=clock,
            pool=pool,
            blobs=blobs,
            publisher=publisher,
            drainer=drainer,
            intake=Intake(blobs, folder, Limits(upload=MAX_UPLOAD, text=512 << 10), partial(hold, pool)),
            desk=ShareDesk(pool, codec, clock, drainer.wake),
            search=search,
            duplicates=DuplicateDesk(searching, model),
            digests=DigestDesk(DigestRows(searching), model),
            cancel=CancelDesk(pool, catalog),
            caps=CapDesk(pool, deciding),
            unconfirmed=UnconfirmedDesk(pool, deciding),
            dead_letters=DeadLetterDesk(pool, codec, clock, drainer.wake),
            lags=Lags(stack.cluster),
            watcher=Watcher(pool, blobs, catalog),
            retries=RetryDesk(pool, codec, catalog, clock, drainer.wake),
            deletions=DeleteDesk(pool, catalog, clock, drainer.wake),
            remover=Remover(pool, blobs),
        )
        transport = httpx.ASGITransport(create_app(parts, LOOPBACK), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            yield Gateway(parts, http, codec, ledger, model, stack.kafka)
        await parts.watcher.close()
        await publisher.close()
        await probing
    assert not {"released", "unknown"} & set(ledger.ended.values()), "no search fails in these tests"


async def published(kafka: str, share_id: str) -> list[Message]:
    """Every message about a share that is on share.created once there is at least one."""
    return (await published_all(kafka, [share_id]))[share_id]


async def published_all(kafka: str, share_ids: Sequence[str], within_s: float = 15.0) -> dict[str, list[Message]]:
    """Every message about the shares that is on share.created once there is at least one about each."""
    return await asyncio.to_thread(_published, kafka, share_ids, within_s)


def _published(kafka: str, share_ids: Sequence[str], within_s: float) -> dict[str, list[Message]]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex, "enable.partition.eof": True})
    try:
        partitions = consumer.list_topics(TOPIC, timeout=5).topics[TOPIC].partitions
        consumer.assign([TopicPartition(TOPIC, number, 0) for number in partitions])
        found: dict[str, list[Message]] = {share_id: [] for share_id in share_ids}
        deadline = datetime.now(UTC) + timedelta(seconds=within_s)
        ends: set[int | None] = set()
        while datetime.now(UTC) < deadline and not (all(found.values()) and len(ends) == len(partitions)):
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is not None:
                ends.add(message.partition())
            elif (key := (message.key() or b"").decode()) in found:
                found[key].append(message)
        return found
    finally:
        consumer.close()


async def add_chunks(gateway: Gateway, share_id: str, texts: Sequence[str], *, model: str | None = None) -> str:
    """Finish the embed job of a share with these chunks, ten seconds each; returns the work's key."""
    work_key = f"embed:{uuid.uuid4().hex}"
    name = model or gateway.model.name
    result = {
        "backend": "local",
        "model": name,
        "dimensions": 256,
        "chunker": "transcript",
        "chunk_count": len(texts),
    }
    async with gateway.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, 'embed', $2, now())",
            work_key,
            result,
        )
        vectors = (await gateway.model.embed(texts)).vectors
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
            await connection.execute(
                "INSERT INTO embeddings (model, content_hash, dimensions, embedding) "
                "VALUES ($1, md5($2), $3, $4::text::halfvec) "
                "ON CONFLICT (model, content_hash) DO UPDATE SET embedding = excluded.embedding",
                name,
                text,
                len(vector),
                json.dumps(vector),
            )
            await connection.execute(
                """
                INSERT INTO chunks (work_key, chunk_no, embedding_type, model, content_hash, text, start_ms, end_ms,
                                    tokens)
                VALUES ($1, $2, 'content', $3, md5($4), $4, $5, $6, 10)
                """,
                work_key,
                number,
                name,
                text,
                number * 10_000,
                number * 10_000 + 9_000,
            )
        await finish_job(connection, share_id, "embed", work_key, name)
    return work_key


async def finish_job(
    connection: asyncpg.pool.PoolConnectionProxy[asyncpg.Record],
    share_id: str,
    stage: str,
    work_key: str,
    model: str | None = None,
) -> None:
    """What the job core writes when a stage is done."""
    await connection.execute(
        "UPDATE jobs SET state = 'done', work_key = $3, model = $4 WHERE share_id = $1 AND stage = $2",
        share_id,
        stage,
        work_key,
        model,
    )
