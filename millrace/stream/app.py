"""A stage as a process: Faust application, job pool, runner, ledger client, ops endpoints, put together.

`open` happens before Faust starts, so that what is missing ends the process with one sentence and nothing was read.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

import faust
from faust.types import TP
from pydantic import BaseModel

from millrace.clock import SystemClock
from millrace.contracts.catalog import Catalog
from millrace.contracts.provision import verify_topics
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.kafka.committed import Committed, open_committed
from millrace.kafka.producer import open_producer
from millrace.ledger.client import open_ledger
from millrace.settings import StageSettings, WorksOn
from millrace.startup import EXIT_CRASHED
from millrace.store.blobs import BlobStore, LocalBlobStore
from millrace.store.calls import CallStore
from millrace.store.cancel import CancelStore
from millrace.store.database import Database
from millrace.store.intake import IntakeStore
from millrace.store.jobs import JobStore
from millrace.store.pool import open_pool
from millrace.store.version import verify_migrated
from millrace.store.waiting import WaitingStore
from millrace.store.work import WorkStore
from millrace.stream.acks import Partition
from millrace.stream.cancel import Stops, watch_cancelled
from millrace.stream.dead_ratio import DeadLimit
from millrace.stream.faust_app import FaustApp, SafeConsumer, faust_settings
from millrace.stream.gates import Gates
from millrace.stream.health import TailWatch, Watch, unready
from millrace.stream.intake import Intake
from millrace.stream.messages import Reader, Writer
from millrace.stream.mover import move_waiting
from millrace.stream.pool import JobPool, Stream, die_of_gap
from millrace.stream.runner import JobRunner, Stores
from millrace.stream.stage import StageHandler, StageSpec
from millrace.stream.worker import StageWorker
from millrace.telemetry.ops import serve_ops

log = logging.getLogger(__name__)
R = TypeVar("R", bound=BaseModel)

COST_TOPICS = ("cost.requests", "cost.decisions")
STATUS_TOPIC = "task.status"
COMMIT_WITHIN_S = 2.0
"""How long a rebalance waits for a last commit; the whole group waits with it."""


@dataclass(frozen=True)
class Resources:
    """What a handler may use beside its own adapters."""

    database: Database
    blobs: BlobStore


HandlerFactory = Callable[[Resources], AbstractAsyncContextManager[StageHandler[R]]]


class _FaustSource:
    """What the pool asks of the consumer, answered by Faust."""

    def __init__(self, app: FaustApp) -> None:
        self._app = app

    def generation(self) -> int:
        return int(self._app.consumer_generation_id)

    def flowing(self) -> bool:
        return bool(self._app.flow_control.is_active())

    def starts(self) -> Mapping[Partition, int]:
        return cast(SafeConsumer, self._app.consumer).starts


class _FaustOffsets:
    """What the watch asks of Kafka; of the topics whose records are jobs."""

    def __init__(self, app: FaustApp, topics: Collection[str], committed: Committed) -> None:
        self._app = app
        self._topics = topics
        self._committed = committed

    async def positions(self) -> Mapping[Partition, int]:
        consumer, positions = self._app.consumer, {}
        for tp in consumer.assignment():
            if tp.topic in self._topics and (position := await consumer.position(tp)) is not None:
                positions[Partition(tp.topic, tp.partition)] = position
        return positions

    def end(self, at: Partition) -> int:
        consumer = self._app.consumer
        return int(consumer.highwater(TP(*at)) or 0) if TP(*at) in consumer.assignment() else 0

    async def committed(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        offsets = await self._committed.offsets(partitions)
        return {Partition(*at): offset for at, offset in offsets.items()}


class StageApp(FaustApp, Generic[R]):
    """Faust application of one stage, or of the part of it that `works_on` names."""

    def __init__(
        self, spec: StageSpec, settings: StageSettings, handler: HandlerFactory[R], *, works_on: WorksOn = "both"
    ) -> None:
        spec = replace(spec, local=works_on == "local")
        self.spec = spec = spec.limited(soft_s=settings.soft_limit_s, hard_s=settings.hard_limit_s)
        self._hands_over = works_on == "api"
        super().__init__(
            spec.group,
            broker=f"aiokafka://{settings.kafka}",
            Worker=StageWorker,
            consumer_group_instance_id=settings.instance,
            **faust_settings(spec.hard_limit),
        )
        self.settings = settings
        self._new_handler = handler
        self._clock = SystemClock()
        self._open = AsyncExitStack()
        self._jobs: JobPool | None = None
        self._watch: Watch | None = None
        self._intake: Intake | None = None
        self._background: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._assigned = False
        for name in self.job_topics:
            topic = self.topic(
                name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", allow_empty=True
            )
            self.agent(topic, name=f"{spec.name}:{name}")(self._pump)
        self.on_partitions_assigned.connect(self._on_assigned, weak=False)
        self.on_partitions_revoked.connect(self._on_revoked, weak=False)

    @property
    def job_topics(self) -> tuple[str, ...]:
        """Topics whose records are jobs: events, and commands to this stage."""
        return self.spec.topics

    async def open(self) -> None:
        """Check and connect everything that the stage needs.

        :raises ConfigurationError: a topic or a schema is missing.
        :raises Unavailable: a part does not answer.
        """
        try:
            await self._connect()
        except BaseException:
            await self._open.aclose()
            raise

    async def _connect(self) -> None:
        settings, spec = self.settings, self.spec
        enter = self._open.enter_async_context
        catalog = Catalog.load()
        written = {spec.output, spec.requested, STATUS_TOPIC, *COST_TOPICS}
        if self._hands_over:
            written.add(spec.requested_local)
        read = {*self.job_topics, *spec.inputs, "share.created", *COST_TOPICS}
        await verify_topics(settings.kafka, catalog, {*written, *read, spec.dead})
        registry = self._open.enter_context(Registry(settings.registry))
        codec = await Codec.connect(registry, catalog, written)
        await enter(serve_ops(settings.ops_host, settings.ops_port, self.unready))
        pool = await enter(open_pool(settings.postgres.get_secret_value(), size=settings.places + 6))
        await verify_migrated(pool)
        producer = await enter(open_producer(settings.kafka))
        source = spec.group
        ledger = await enter(open_ledger(settings.kafka, codec, producer, source=source))
        database = Database(pool)
        handler = await enter(self._new_handler(Resources(database, LocalBlobStore(settings.blobs))))
        owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"  # containers repeat the first two
        lease = timedelta(seconds=settings.lease_s)
        jobs = JobStore(database)
        waiting = WaitingStore(database, spec.name)
        gates = Gates(spec.name, waiting)
        await gates.look()  # what is closed stays closed over a restart
        limit = DeadLimit(settings.dead_share, settings.dead_last, settings.dead_least)
        intake = self._intake = Intake(gates, IntakeStore(database, spec.name), limit)
        cancel, stops = CancelStore(database, spec.name, catalog.later(spec.name)), Stops()
        stores = Stores(WorkStore(database, owner, lease), CallStore(database), jobs, gates, cancel, lease)
        partitions = {STATUS_TOPIC: catalog.topic(STATUS_TOPIC).partitions}
        writer = Writer(producer, codec, self._clock, source=source, partitions=partitions)
        runner = JobRunner(
            spec,
            handler=handler,
            stores=stores,
            ledger=ledger,
            reader=Reader(codec, spec.inputs),
            writer=writer,
            clock=self._clock,
            ends=intake,
            stops=stops,
            hands_over=self._hands_over,
        )
        self._jobs = self._new_pool(runner, intake)
        offsets = _FaustOffsets(self, self.job_topics, await enter(open_committed(settings.kafka, self.conf.id)))
        self._watch = watch = Watch(spec.name, self._jobs, offsets, TailWatch(self._jobs, die_of_gap), self._clock)
        self._background = [
            lambda: move_waiting(gates, waiting, writer),
            lambda: watch_cancelled(cancel, stops, writer),
            watch.run,
        ]

    def _new_pool(self, runner: JobRunner[R], intake: Intake) -> JobPool:
        settings = self.settings
        return JobPool(
            runner.execute,
            _FaustSource(self),
            self._clock,
            concurrency=settings.places,
            prefetch=settings.prefetch,
            hold=intake.hold,
        )

    @property
    def jobs(self) -> JobPool:
        """The pool; only after `open`."""
        if self._jobs is None:
            raise RuntimeError("the stage is not open")
        return self._jobs

    async def _pump(self, stream: faust.StreamT[bytes]) -> None:
        await self.jobs.pump(cast(Stream, stream))

    async def on_first_start(self) -> None:
        """Faust would make folders for its tables here; a stage has none."""

    async def on_started(self) -> None:
        """Start the mover and the watch once Faust runs."""
        await super().on_started()
        for task in self._background:
            self.add_future(self._vital(task))

    async def _vital(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A background task that ends with an error takes the process with it: the supervisor starts it anew."""
        try:
            await task()
        except Exception:
            log.critical("a background task of the %s stage failed; stopping", self.spec.name, exc_info=True)
            os._exit(EXIT_CRASHED)

    async def _on_assigned(self, *_: object, **__: object) -> None:
        self._assigned = True

    async def _on_revoked(self, *sent: Any, **_: object) -> None:  # noqa: ANN401 - a signal of Faust
        revoked: Iterable[TP] = sent[1]  # sent by Faust as (app, revoked)
        # Whoever has the partitions next need not look again at what is done. Faust itself commits every second only.
        try:
            await asyncio.wait_for(self.consumer.commit(), COMMIT_WITHIN_S)
        except TimeoutError:
            log.info("%s: no commit before the rebalance was possible; some records come again", self.spec.name)
        if self._jobs is not None:
            self._jobs.revoke(Partition(tp.topic, tp.partition) for tp in revoked)

    def unready(self) -> str | None:
        """Why the stage is not ready, or None."""
        if self._jobs is None or self._intake is None:
            return "starting"
        return self._intake.closed() or unready(
            self.spec,
            self._clock.now(),
            assigned=self._assigned,
            flowing=bool(self.flow_control.is_active()),
            oldest_start=self._jobs.oldest_start(),
            standstill=None if self._watch is None else self._watch.standstill(),
        )

    async def drain(self) -> None:
        """Take nothing more, let running jobs end for a while, give the rest back."""
        if self._jobs is not None:
            left = await self._jobs.drain(self.settings.drain_s)
            log.info("%s: stopping; %d unfinished jobs are given back", self.spec.name, left)

    async def on_stop(self) -> None:
        """Stop Faust's parts, then ours."""
        await super().on_stop()
        await self._open.aclose()
