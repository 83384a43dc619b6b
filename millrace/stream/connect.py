"""Connects a stage's parts, checking everything that must be there before the first record is read."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from millrace.clock import SystemClock
from millrace.contracts.catalog import Catalog
from millrace.contracts.provision import verify_topics
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.kafka.committed import open_committed
from millrace.kafka.producer import open_producer
from millrace.ledger.client import open_ledger
from millrace.ledger.topics import DECISIONS, REQUESTS
from millrace.settings import StageSettings
from millrace.store.blobs import BlobStore
from millrace.store.blobs.opening import keep_order, open_blobs
from millrace.store.calls import CallStore
from millrace.store.cancel import CancelStore
from millrace.store.database import Database
from millrace.store.dead_gate import DeadGateStore
from millrace.store.jobs import JobStore
from millrace.store.pool import open_pool
from millrace.store.version import verify_migrated
from millrace.store.waiting import WaitingStore
from millrace.store.work import WorkStore
from millrace.stream.cancel import Stops, watch_cancelled
from millrace.stream.core import Core, Stores
from millrace.stream.dead_breaker import DeadLetterBreaker
from millrace.stream.dead_ratio import DeadLimit
from millrace.stream.faust_app import FaustApp
from millrace.stream.faust_consumer import FaustOffsets, FaustSource
from millrace.stream.gates import Gates
from millrace.stream.health import TailWatch, Watch
from millrace.stream.mover import move_waiting
from millrace.stream.pool import JobPool, die_of_gap
from millrace.stream.reader import Reader
from millrace.stream.recovery import LeftOpen, Recovery
from millrace.stream.runner import JobRunner
from millrace.stream.stage import E, R, StageHandler, StageSpec
from millrace.stream.statuses import Statuses
from millrace.stream.writer import Writer
from millrace.telemetry.ops import serve_ops

COST_TOPICS: Final = (REQUESTS, DECISIONS)
STATUS_TOPIC: Final = "task.status"


@dataclass(frozen=True)
class Resources:
    """What a handler may use beside its own adapters."""

    database: Database
    blobs: BlobStore


OpenHandler = Callable[[Resources], AbstractAsyncContextManager[StageHandler[E, R]]]
"""Makes a stage's handler and what it needs, and closes that at the end."""
Task = Callable[[], Coroutine[object, object, None]]


@dataclass(frozen=True)
class Parts:
    """What a stage runs on: its pool, the watches over it, and what goes on beside it."""

    jobs: JobPool
    watch: Watch
    breaker: DeadLetterBreaker
    background: tuple[Task, ...]


async def connect(
    stack: AsyncExitStack,
    app: FaustApp,
    spec: StageSpec,
    settings: StageSettings,
    open_handler: OpenHandler[E, R],
    *,
    hands_over: bool,
    unready: Callable[[], str | None],
) -> Parts:
    """Check and connect everything; whoever has `stack` closes it.

    :raises ConfigurationError: a topic or a schema is missing.
    :raises Unavailable: a part does not answer.
    """
    catalog = Catalog.load(records=spec.records)
    codec = await _codec(stack, catalog, spec, settings, hands_over=hands_over)
    await stack.enter_async_context(serve_ops(settings.ops_host, settings.ops_port, unready))
    blobs = await stack.enter_async_context(open_blobs(settings, settings.blobs))
    core, breaker = await _core(
        stack, catalog, codec, spec, settings, blobs=blobs, open_handler=open_handler, hands_over=hands_over
    )
    jobs = JobPool(
        JobRunner(core).execute,
        FaustSource(app),
        core.clock,
        concurrency=settings.places,
        prefetch=settings.prefetch,
        hold=breaker.hold,
    )
    committed = await stack.enter_async_context(open_committed(settings.cluster, app.conf.id))
    offsets = FaustOffsets(app, spec.topics, committed)
    watch = Watch(spec.name, jobs, offsets, TailWatch(jobs, die_of_gap), core.clock)
    stores = core.stores
    background: tuple[Task, ...] = (
        lambda: move_waiting(stores.gates, stores.waiting, core.writer),
        lambda: watch_cancelled(stores.cancel, core.stops, core.statuses),
        LeftOpen(spec.name, spec.hard_limit, stores.calls, stores.work, Recovery(stores.calls, core.ledger)).watch,
        watch.run,
        lambda: keep_order(blobs, settings, settings.blobs, core.clock),
    )
    return Parts(jobs, watch, breaker, background)


async def _core(
    stack: AsyncExitStack,
    catalog: Catalog,
    codec: Codec,
    spec: StageSpec,
    settings: StageSettings,
    *,
    blobs: BlobStore,
    open_handler: OpenHandler[E, R],
    hands_over: bool,
) -> tuple[Core[E, R], DeadLetterBreaker]:
    """What jobs are worked on with, and what decides whether new ones are taken."""
    enter, clock = stack.enter_async_context, SystemClock()
    pool = await enter(open_pool(settings.postgres.get_secret_value(), size=settings.places + 6))
    await verify_migrated(pool)
    database = Database(pool)
    producer = await enter(open_producer(settings.cluster))
    ledger = await enter(open_ledger(settings.cluster, codec, producer, source=spec.group))
    handler = await enter(open_handler(Resources(database, blobs)))
    stores = _stores(database, catalog, spec, settings)
    await stores.gates.look()  # what is closed stays closed over a restart
    limit = DeadLimit(settings.dead_share, settings.dead_last, settings.dead_least)
    breaker = DeadLetterBreaker(stores.gates, DeadGateStore(database, spec.name), limit)
    partitions = {STATUS_TOPIC: catalog.topic(STATUS_TOPIC).partitions}
    writer = Writer(producer, codec, clock, source=spec.group, partitions=partitions)
    core = Core(
        spec,
        handler=handler,
        stores=stores,
        ledger=ledger,
        reader=Reader(codec, spec.inputs),
        writer=writer,
        statuses=Statuses(writer),
        clock=clock,
        observer=breaker,
        stops=Stops(),
        hands_over=hands_over,
    )
    return core, breaker


async def _codec(
    stack: AsyncExitStack, catalog: Catalog, spec: StageSpec, settings: StageSettings, *, hands_over: bool
) -> Codec:
    written = {spec.output, spec.requested, STATUS_TOPIC, *COST_TOPICS}
    if hands_over:
        written.add(spec.requested_local)
    read = {*spec.topics, *spec.inputs, "share.created", *COST_TOPICS}
    await verify_topics(settings.cluster, catalog, {*written, *read, spec.dead})
    registry = stack.enter_context(Registry(settings.registry))
    return await Codec.connect(registry, catalog, written)


def _stores(database: Database, catalog: Catalog, spec: StageSpec, settings: StageSettings) -> Stores:
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"  # containers repeat the first two
    lease = timedelta(seconds=settings.lease_s)
    waiting = WaitingStore(database, spec.name)
    return Stores(
        work=WorkStore(database, owner, lease),
        calls=CallStore(database),
        jobs=JobStore(database),
        gates=Gates(spec.name, waiting),
        waiting=waiting,
        cancel=CancelStore(database, spec.name, catalog.later(spec.name)),
        lease=lease,
    )
