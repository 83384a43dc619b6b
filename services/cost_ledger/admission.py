"""The admission core as a service of the Faust application: its own consumer, one `PartitionLedger` a partition.

Kafka's group says who works on which partition; safety never depends on it (see `log.py`). Positions are the ledger's
own rows; what is committed to the group is for lag displays only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from millrace.clock import Clock
from millrace.contracts.events import CostRequest
from millrace.contracts.headers import header, headers, new_trace
from millrace.contracts.partitions import partition_for
from millrace.contracts.wire import Codec
from millrace.errors import Poison, Unavailable
from millrace.kafka.producer import Producer
from millrace.ledger.topics import REQUESTS
from services.cost_ledger import metrics
from services.cost_ledger.budgets import Cap, differences
from services.cost_ledger.log import Broken, LogSetup, PartitionLog
from services.cost_ledger.partition import Delivery, PartitionLedger
from services.cost_ledger.progress import Progress
from services.cost_ledger.rows import CapKey
from services.cost_ledger.state import Logged

log = logging.getLogger(__name__)

Fatal = Callable[[str], None]
"""Ends the process with one line; the log decides what had happened."""

MAX_BATCH: Final = 500
STALLED: Final = timedelta(seconds=15)
_POLL_MS: Final = 200
_SESSION_MS, _HEARTBEAT_MS = 6_000, 1_500
_HOUSEKEEPING_S: Final = 1.0
_HOLE_ATTEMPTS: Final = 3
_APPEND_TIME: Final = 1


class _Hole(NamedTuple):
    """A gap before a delivered offset, and how often it was fetched again."""

    next_offset: int
    attempts: int


class Admission(Service):
    """Reads requests, lets their partitions decide, appends expiries and the budgets file's caps."""

    def __init__(
        self,
        setup: LogSetup,
        codec: Codec,
        producer: Producer,
        caps: Mapping[CapKey, Cap],
        *,
        partitions: int,
        clock: Clock,
        fatal: Fatal,
    ) -> None:
        super().__init__()
        self._setup = setup
        self._codec = codec
        self._producer = producer
        self._caps = caps
        self._partitions = partitions
        self._clock = clock
        self._fatal = fatal
        self._owned: dict[int, PartitionLedger] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._holes: dict[int, _Hole] = {}
        self._progress = Progress(STALLED)
        self._joined = False

    async def on_start(self) -> None:
        """Join the group."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._setup.kafka,
            group_id=f"{self._setup.app_id}-admission",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=_SESSION_MS,
            heartbeat_interval_ms=_HEARTBEAT_MS,
            # Progress is watched by `unready`; leaving the group because of a slow broker would help nobody.
            max_poll_interval_ms=86_400_000,
        )
        self._consumer.subscribe([self._setup.topics.requests], listener=_Listener(self))
        await self._consumer.start()
        self.add_future(self._guarded(self._read()))
        self.add_future(self._guarded(self._keep_house()))

    async def on_stop(self) -> None:
        """Finish what is in flight and hand the partitions over."""
        await self.revoke()
        await self._consumer.stop()

    def unready(self) -> str | None:
        """None when every assigned partition is loaded, has its caps and makes progress; else what is missing."""
        if not self._joined:
            return "no partitions are assigned yet"
        for partition, ledger in sorted(self._owned.items()):
            if not ledger.loaded:
                return f"partition {partition} is being loaded"
            if self._missing_caps(ledger):
                return f"partition {partition} has not taken over the budgets file yet"
        stalled = self._progress.stalled(self._clock.now())
        if stalled is not None:
            partition, since = stalled
            return f"partition {partition} has requests waiting and has decided none since {since:%H:%M:%S} UTC"
        return None

    def owns(self, partition: int) -> Callable[[str], bool]:
        """Which accounts belong to a partition."""
        return lambda account: partition_for(account, self._partitions) == partition

    def assign(self, partitions: Iterable[int]) -> None:
        """Partitions are ours now; each is paused until it is loaded."""
        self._joined = True
        for partition in partitions:
            self._consumer.pause(self._tp(partition))
            ledger = PartitionLedger(partition, PartitionLog(self._setup, partition), self.owns(partition))
            self._owned[partition] = ledger
            self._opening[partition] = asyncio.create_task(self._guarded(self._open(ledger)))

    async def revoke(self) -> None:
        """Let go of all partitions, after the batches in flight."""
        owned, self._owned = self._owned, {}
        opening, self._opening = self._opening, {}
        for task in opening.values():
            task.cancel()
        await asyncio.gather(*opening.values(), return_exceptions=True)
        self._holes.clear()
        self._progress.forget()
        for partition, ledger in owned.items():
            try:
                await ledger.close()
            except KafkaError as exc:  # the next owner fences it anyway
                log.warning("partition %d was left with %s", partition, type(exc).__name__)

    async def _open(self, ledger: PartitionLedger) -> None:
        partition, tp = ledger.partition, self._tp(ledger.partition)
        with metrics.LOAD_SECONDS.time():
            await ledger.open((await self._consumer.beginning_offsets([tp]))[tp])
        if self._owned.get(partition) is not ledger:
            return
        log.info(
            "partition %d is loaded: %d rows, next request %d",
            partition,
            len(ledger.state.rows),
            ledger.next_offset,
        )
        self._consumer.seek(tp, ledger.next_offset)
        self._consumer.resume(tp)
        await self._append(partition, self._missing_caps(ledger))

    def _missing_caps(self, ledger: PartitionLedger) -> list[CostRequest]:
        owns = self.owns(ledger.partition)
        return differences(self._caps, ledger.state.caps, owns=owns, at=self._clock.now())

    async def _read(self) -> None:
        while not self.should_stop:
            found = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=MAX_BATCH)
            await asyncio.gather(*(self._deliver(tp.partition, records) for tp, records in found.items()))

    async def _deliver(self, partition: int, records: list[ConsumerRecord]) -> None:
        ledger = self._owned.get(partition)
        if ledger is None or not ledger.loaded:
            return  # fetched again from the position once it is loaded
        logged = [await self._logged(record) for record in records]
        with metrics.COMMIT_SECONDS.time():
            delivery = await ledger.decide(logged)
        if delivery is Delivery.HOLE:
            self._fetch_again(ledger, logged[0].offset)
        elif delivery is Delivery.DECIDED:
            self._holes.pop(partition, None)

    async def _logged(self, record: ConsumerRecord) -> Logged:
        """A record with its request, or with the reason why it is none. Waits while the registry is away."""
        if record.timestamp_type != _APPEND_TIME:
            raise Broken(
                f"{record.topic} carries its clients' times: set message.timestamp.type=LogAppendTime "
                f"(`millrace topics apply`)"
            )
        account = (record.key or b"").decode("utf-8", "replace")
        trace = header(record.headers, "traceparent")
        while True:
            try:
                request = await self._codec.decode(REQUESTS, record.value or b"")
            except Poison as exc:
                return Logged(record.offset, record.timestamp, account, f"undecodable: {exc}", trace)
            except Unavailable as exc:
                log.warning("partition %d waits at offset %d: %s", record.partition, record.offset, exc)
                await self.sleep(1.0)
            else:
                if not isinstance(request, CostRequest):
                    raise TypeError(f"{REQUESTS} carries {type(request).__name__}")
                return Logged(record.offset, record.timestamp, account, request, trace)

    def _fetch_again(self, ledger: PartitionLedger, delivered: int) -> None:
        """The consumer left something out: fetch from the position. What is missing three times is not there."""
        partition, expected = ledger.partition, ledger.next_offset
        known = self._holes.get(partition)
        attempts = known.attempts + 1 if known is not None and known.next_offset == expected else 1
        self._holes[partition] = _Hole(expected, attempts)
        if attempts > _HOLE_ATTEMPTS and delivered > expected:
            log.error(
                "partition %d: the broker holds no requests %d to %d; going on", partition, expected, delivered - 1
            )
            ledger.skip_to(delivered)
        else:
            log.warning(
                "partition %d: offset %d was delivered before %d; fetching again", partition, delivered, expected
            )
        self._consumer.seek(self._tp(partition), ledger.next_offset)

    async def _keep_house(self) -> None:
        while not self.should_stop:
            await self.sleep(_HOUSEKEEPING_S)
            now = self._clock.now()
            for partition, ledger in list(self._owned.items()):
                await self._append(partition, ledger.overdue(now))
                if ledger.loaded:
                    end = self._consumer.highwater(self._tp(partition)) or 0
                    self._progress.note(partition, ledger.next_offset, end, now)
            await self._show_lag()

    async def _show_lag(self) -> None:
        offsets = {self._tp(p): ledger.next_offset for p, ledger in self._owned.items() if ledger.loaded}
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except KafkaError as exc:  # nothing depends on it
            log.debug("the group's offsets were not committed: %s", exc)

    async def _append(self, partition: int, requests: Iterable[CostRequest]) -> None:
        """Append requests of the ledger's own, in order, each confirmed."""
        for request in requests:
            about = headers(
                REQUESTS,
                f"{request.request_id}:{request.op}",
                source="cost_ledger",
                subject=request.account,
                time=request.requested_at,
                traceparent=new_trace(),
            )
            await self._producer.send(
                self._setup.topics.requests,
                key=request.account.encode(),
                value=self._codec.encode(REQUESTS, request),
                headers=about,
                partition=partition,
            )

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(self._setup.topics.requests, partition)

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Crash-only: whatever goes wrong ends the process, and a restart takes the truth from the log."""
        try:
            await work
        except Exception as exc:
            if self.should_stop:  # its consumer and producers were closed under it
                log.info("stopped with %s", type(exc).__name__)
                return
            log.exception("the admission core failed")
            self._fatal(f"The cost ledger ends: {type(exc).__name__}: {exc}")


class _Listener(ConsumerRebalanceListener):
    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:  # noqa: ARG002  # always all
        await self._admission.revoke()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._admission.assign(sorted(tp.partition for tp in assigned))
