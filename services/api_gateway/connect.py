"""Connects a gateway's parts, checking everything that must be there before the first request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx

from millrace.clock import Clock, SystemClock
from millrace.contracts.catalog import Catalog
from millrace.contracts.provision import verify_topics
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.errors import ConfigurationError
from millrace.kafka.producer import open_producer
from millrace.ledger.client import open_ledger
from millrace.ledger.topics import DECISIONS, REQUESTS
from millrace.models.build import open_embeddings
from millrace.startup import say
from millrace.store.blobs.opening import open_blobs
from millrace.store.blobs.sweep import sweep
from millrace.store.pool import open_pool
from millrace.store.version import verify_migrated
from services.api_gateway.cancel import CancelDesk
from services.api_gateway.caps import CapDesk
from services.api_gateway.dead_letters import DeadLetterDesk
from services.api_gateway.deletion import DeleteDesk
from services.api_gateway.digest import DigestDesk
from services.api_gateway.digest_rows import DigestRows
from services.api_gateway.duplicates import DuplicateDesk
from services.api_gateway.forms import Limits
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.intake import Intake
from services.api_gateway.keys import PublicKeys
from services.api_gateway.lags import Lags
from services.api_gateway.origins import TOPICS
from services.api_gateway.outbox import Drainer
from services.api_gateway.passages import SEARCH_SETTINGS, Passages
from services.api_gateway.producer import KafkaPublisher
from services.api_gateway.rate import RateLimit
from services.api_gateway.reliable import ReliablePublisher
from services.api_gateway.removal import Remover
from services.api_gateway.resources import Resources
from services.api_gateway.retries import RetryDesk
from services.api_gateway.search import Search
from services.api_gateway.settings import GatewaySettings
from services.api_gateway.shares import ShareDesk
from services.api_gateway.sign_in import Checks, SignIn
from services.api_gateway.spoken import Spoken
from services.api_gateway.unconfirmed import UnconfirmedDesk
from services.api_gateway.uploads import hold
from services.api_gateway.watcher import Watcher

NAME = "api_gateway"
_POOL_SIZE = 10  # one of them is the drainer's, for good


@asynccontextmanager
async def connected(settings: GatewaySettings) -> AsyncIterator[Resources]:
    """Everything the routes work with, closed at the end.

    :raises ConfigurationError: a topic, a schema, a table or a folder is missing.
    :raises Unavailable: Kafka, the registry or PostgreSQL does not answer.
    """
    close_to_strangers(settings)
    catalog = Catalog.load()
    written = (*TOPICS.values(), REQUESTS, *(f"{stage}.requested" for stage in catalog.stages))
    await verify_topics(settings.cluster, catalog, (*written, DECISIONS, *catalog.dead_topics))
    clock = SystemClock()
    await asyncio.to_thread(prepare_folder, settings.uploads, clock.now())
    with Registry(settings.registry) as registry:
        codec = await Codec.connect(registry, catalog, written)
        async with (
            open_pool(settings.postgres.get_secret_value(), size=_POOL_SIZE) as pool,
            open_pool(settings.postgres.get_secret_value(), settings=SEARCH_SETTINGS) as searching,
            open_producer(settings.cluster) as producer,
            open_ledger(
                settings.cluster, codec, producer, source=NAME, clock=clock, answer_within_s=settings.cap_change_s
            ) as ledger,
            open_embeddings(settings, care=None) as models,
            open_blobs(settings, settings.blobs) as blobs,
            httpx.AsyncClient(follow_redirects=False) as http,
        ):
            await verify_migrated(pool)
            search = Search(
                Passages(searching),
                models.of(None),
                ledger,
                models=models,
                spoken=Spoken(pool, blobs),
                grant_within_s=settings.search_grant_s,
            )
            publisher = reliable(KafkaPublisher(settings.cluster, max_message_bytes=catalog.max_message_bytes))
            drainer = Drainer(pool, publisher, publisher)
            watcher = Watcher(pool, blobs, catalog)
            remover = Remover(pool, blobs)
            try:
                yield Resources(
                    owner=settings.owner,
                    catalog=catalog,
                    clock=clock,
                    pool=pool,
                    blobs=blobs,
                    publisher=publisher,
                    drainer=drainer,
                    intake=Intake(
                        blobs,
                        settings.uploads,
                        Limits(settings.max_upload_bytes, settings.max_text_bytes),
                        partial(hold, pool),
                    ),
                    desk=ShareDesk(pool, codec, clock, drainer.wake),
                    search=search,
                    duplicates=DuplicateDesk(searching, models.of(None)),
                    digests=DigestDesk(DigestRows(searching), models.of(None)),
                    cancel=CancelDesk(pool, catalog),
                    caps=CapDesk(pool, ledger),
                    unconfirmed=UnconfirmedDesk(pool, ledger),
                    dead_letters=DeadLetterDesk(pool, codec, clock, drainer.wake),
                    sign_in=sign_in(settings, clock, http),
                    rate=RateLimit(settings.rate_limit),
                    lags=Lags(settings.cluster),
                    watcher=watcher,
                    retries=RetryDesk(pool, codec, catalog, clock, drainer.wake),
                    deletions=DeleteDesk(pool, catalog, clock, drainer.wake, remover.wake),
                    remover=remover,
                )
            finally:
                await watcher.close()
                await publisher.close()


def close_to_strangers(settings: GatewaySettings) -> None:
    """Let nothing listen to other machines that does not know who asks.

    :raises ConfigurationError: it would.
    """
    if settings.http_host not in LOOPBACK and not settings.has_sign_in:
        raise ConfigurationError(
            f"MILLRACE_HTTP_HOST={settings.http_host} opens the API to other machines: set MILLRACE_JWT_SECRET "
            "(`openssl rand -hex 32`) or MILLRACE_JWKS_URL, so that people sign in."
        )


def sign_in(settings: GatewaySettings, clock: Clock, http: httpx.AsyncClient) -> SignIn | None:
    """How people sign in, if they do."""
    if not settings.has_sign_in:
        say(NAME, "nobody signs in: whoever is on this machine is an admin")
        return None
    return SignIn(
        clock,
        None if settings.jwt_secret is None else settings.jwt_secret.get_secret_value(),
        None if settings.jwks_url is None else PublicKeys(settings.jwks_url, http),
        Checks(settings.jwt_issuer, settings.jwt_audience, settings.jwt_roles_claim),
    )


def reliable(kafka: KafkaPublisher) -> ReliablePublisher:
    """A publisher over a client that tells it when no broker can be reached."""
    publisher = ReliablePublisher(kafka)
    kafka.lost = publisher.lost
    return publisher


def prepare_folder(uploads: Path, now: datetime) -> None:
    """Make the folder of uploads, and sweep what processes that were killed have left there.

    :raises ConfigurationError: it cannot be made, read or written.
    """
    try:
        uploads.mkdir(parents=True, exist_ok=True)
        sweep(uploads, "upload-*", now)
    except OSError as exc:
        raise ConfigurationError(
            f"The folder for uploads cannot be used ({exc.strerror}): set MILLRACE_UPLOAD_FOLDER or MILLRACE_BLOBS."
        ) from exc
