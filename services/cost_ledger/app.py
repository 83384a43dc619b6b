"""Puts the cost ledger together: a Faust application, with the admission core on a thread beside it or elsewhere.

The core decides (`core.py`); the application's agent keeps the tables of what was spent (`recorder.py`).
"""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar, cast

import faust
from aiokafka.errors import KafkaError
from prometheus_client import REGISTRY

from millrace.clock import SystemClock
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import CostDecision
from millrace.contracts.headers import TRACE_HEADER
from millrace.contracts.partitions import partition_for
from millrace.contracts.wire import Codec
from millrace.errors import Poison
from millrace.kafka.producer import open_producer
from millrace.ledger.topics import DECISIONS
from millrace.store.pool import open_pool
from millrace.store.version import verify_migrated
from millrace.stream.faust_app import FAUST_SETTINGS, FaustApp, broker
from millrace.stream.ports import Stream
from millrace.stream.worker import StageWorker
from millrace.telemetry.ops import serve_ops
from services.cost_ledger import tables
from services.cost_ledger.alarm import LedgerAlarm
from services.cost_ledger.alert_outputs import AlertTable, AlertTopic
from services.cost_ledger.audit import TABLES
from services.cost_ledger.core import Core, die, make_core, open_codec
from services.cost_ledger.decode import decode_patiently
from services.cost_ledger.journal import Journal
from services.cost_ledger.late import LateRows, Place
from services.cost_ledger.present import PresentWindows
from services.cost_ledger.progress import Progress
from services.cost_ledger.recorder import Arrived, Behind, Overwritten, Recorder, Taken
from services.cost_ledger.settings import SERVICE, LedgerSettings
from services.cost_ledger.spend import Decided, Rows, SpendBook
from services.cost_ledger.tail import open_tail
from services.cost_ledger.topics import DAILY, HOURLY, changelog

log = logging.getLogger(__name__)
T = TypeVar("T")

RECORDING_STALLED: Final = timedelta(seconds=30)
DELIVERY_STALLED: Final = timedelta(seconds=3)
"""Faust was seen to skip the last records of a partition after a restart, and no later one showed the gap."""
_WATCH_S: Final = 1.0


class LedgerApp(FaustApp):
    """Faust application of the cost ledger; nothing is connected before it is opened."""

    def __init__(self, settings: LedgerSettings) -> None:
        super().__init__(
            settings.ledger_app_id,
            **broker(settings.cluster),
            Worker=StageWorker,
            **FAUST_SETTINGS,
        )
        self.settings = settings
        self.known_as = SERVICE
        self._clock = SystemClock()
        self._open = AsyncExitStack()
        self._recording = Progress(RECORDING_STALLED)
        self._delivery = Progress(DELIVERY_STALLED)
        self._late = LateRows()
        self._catalog = Catalog.load()
        self._partitions = self._catalog.topic(DECISIONS).partitions
        self.hourly_spend: Rows = tables.declare(self, HOURLY, self._partitions, self._home)
        self.daily_spend: Rows = tables.declare(self, DAILY, self._partitions, self._home)
        self._core: Core | None = None
        self._recorder: Recorder | None = None
        self._codec: Codec | None = None
        decisions = self.topic(
            settings.topics.decisions,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            allow_empty=True,
        )
        self.agent(decisions, name="spend")(self._spend)
        self.on_partitions_revoked.connect(self._on_revoked, weak=False)

    def _new_transport(self) -> tables.ReadCommittedTransport:
        return tables.ReadCommittedTransport(self.conf.broker_consumer, self)

    def _home(self, account: str) -> int:
        return partition_for(account, self._partitions)

    async def open(self) -> None:
        """Check and connect everything that the ledger needs.

        :raises ConfigurationError: a topic or a schema is missing, or the budgets file is wrong.
        :raises Unavailable: a part does not answer.
        """
        try:
            await self._connect()
        except BaseException:
            await self._open.aclose()
            raise

    async def _connect(self) -> None:
        settings, topics = self.settings, self.settings.topics
        enter = self._open.enter_async_context
        codec = self._codec = await enter(open_codec(settings, self._catalog))
        if settings.ledger_role == "all":
            self._core = make_core(settings, self._catalog, codec)
        pool = await enter(open_pool(settings.postgres.get_secret_value(), size=2))
        await verify_migrated(pool)
        producer = await enter(open_producer(settings.cluster))
        await enter(serve_ops(settings.ops_host, settings.ops_port, self.unready))
        decisions = tables.KafkaDecisions(settings.cluster, topics.decisions, codec)
        self._ends = await enter(decisions.ends())
        changelogs = {changelog(settings.ledger_app_id, name): window for window, name in TABLES.items()}
        self._tail = await enter(open_tail(settings.cluster, changelogs, topics.spend, codec))
        present = PresentWindows(self._clock)
        REGISTRY.register(present)
        self._open.callback(REGISTRY.unregister, present)
        outputs = (AlertTable(pool), AlertTopic(producer, codec, topics.alerts, self._home))
        self._recorder = Recorder(
            (SpendBook("hour", self.hourly_spend, self._home), SpendBook("day", self.daily_spend, self._home)),
            Journal(pool),
            decisions,
            tables.SpendPublisher(producer, codec, topics.spend, self._home),
            LedgerAlarm(outputs, present, self._clock),
            fatal=die,
        )

    async def on_first_start(self) -> None:
        """Faust would make folders for its tables here; these live in memory and in Kafka."""

    async def on_start(self) -> None:
        """Start the recorder and the core first: granting need not wait until Faust has recovered its tables."""
        await super().on_start()
        await self.add_runtime_dependency(self._opened(self._recorder))
        if self._core is not None:
            self._core.start()
        self.add_future(self._watch())

    @staticmethod
    def _opened(part: T | None) -> T:
        if part is None:
            raise RuntimeError("the ledger is not open")
        return part

    async def _spend(self, stream: faust.StreamT[bytes]) -> None:
        """The agent: hands every committed decision to the recorder, which acknowledges it when it is recorded."""
        recorder = self._opened(self._recorder)
        async for event in cast(Stream, stream).noack().events():
            message = event.message
            decision = await self._decode(message.value or b"")
            decided = Decided(message.partition, message.offset, decision)
            ours = partial(self._is_current, message.generation_id)
            trace = dict(message.headers or {}).get(TRACE_HEADER)
            await recorder.put(Arrived(decided, event.ack, ours, trace))

    def _is_current(self, generation: int) -> bool:
        return generation == int(self.consumer_generation_id)

    async def _decode(self, raw: bytes) -> CostDecision:
        try:
            return cast(CostDecision, await decode_patiently(self._opened(self._codec), DECISIONS, raw))
        except Poison as exc:
            die(f"A decision of our own cannot be read: {exc}")

    async def _on_revoked(self, *_: object, **__: object) -> None:
        if self._recorder is not None:
            await self._recorder.forget()
            self._recording.forget()
            self._delivery.forget()
            self._late.forget()

    async def _watch(self) -> None:
        """Compare what is recorded with where the log ends; what Faust does not deliver is read from the log."""
        recorder, topic = self._opened(self._recorder), self.settings.topics.decisions
        taken: tuple[int, set[int]] = (-1, set())
        while not self.should_stop:
            await self.sleep(_WATCH_S)
            if not self.flow_control.is_active():
                continue
            generation = int(self.consumer_generation_id)
            ours = {tp.partition for tp in self.consumer.assignment() if tp.topic == topic}
            now = self._clock.now()
            try:
                ends = await self._ends(ours)
                await self._tail.read(ours, self._late, now)
            except KafkaError as exc:
                log.info("the ends of the ledger's topics are not known at present: %s", exc)
                continue
            if not self._is_current(generation):
                continue
            current = partial(self._is_current, generation)
            if taken != (generation, ours):
                taken = generation, ours
                for partition in ours:
                    await recorder.put(Taken(partition, current))
            for partition, keys in self._late.overwritten(self._as_of, now).items():
                await recorder.put(Overwritten(partition, keys, current))
            for partition, end in ends.items():
                for progress in (self._recording, self._delivery):
                    progress.note(partition, recorder.reached(partition), end, now)
            behind = self._delivery.stalled(now)
            if behind is not None and behind[0] in ends and recorder.idle:
                partition, since = behind
                log.warning("partition %d: no decision has arrived since %s", partition, since)
                await recorder.put(Behind(partition, ends[partition], current))

    def _as_of(self, place: Place) -> int | None:
        row = (self.hourly_spend if place.window == "hour" else self.daily_spend).get(place.key)
        return None if row is None else row["as_of"]

    def unready(self) -> str | None:
        """Why the ledger is not ready, or None."""
        if self._recorder is None:
            return "starting"
        if not self.flow_control.is_active():
            return "the spend tables are being recovered, or a rebalance is under way"
        stalled = self._recording.stalled(self._clock.now())
        if stalled is not None:
            partition, since = stalled
            return f"spend of partition {partition} has not been recorded since {since:%H:%M:%S} UTC"
        return None if self._core is None else self._core.unready()

    async def drain(self) -> None:
        """Hand the partitions over: the batch in flight is finished, no further one begins."""
        if self._core is not None:
            await self._core.stop()
        if self._recorder is not None:
            await self._recorder.stop()

    async def on_stop(self) -> None:
        """Stop what uses the connections, then close them."""
        await super().on_stop()
        await self.drain()
        await self._open.aclose()


def build(settings: LedgerSettings) -> LedgerApp:
    """The ledger's application."""
    return LedgerApp(settings)
