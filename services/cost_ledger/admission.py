"""The admission core: reads requests of the partitions that it was given, and lets each partition decide its own.

A thread of its own, so that granting does not wait for what the process does besides. Kafka's group says who works on
which partition; safety never depends on it (see `log.py`). Positions are the ledger's own rows; what is committed to
the group is for lag displays only.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import timedelta
from typing import Final, NamedTuple

from confluent_kafka import OFFSET_END, Consumer, KafkaException, Message, TopicPartition

from millrace.clock import Clock
from millrace.contracts.events import CostRequest
from millrace.contracts.partitions import partition_for
from millrace.contracts.wire import Codec
from millrace.telemetry.logs import LIBRDKAFKA
from services.cost_ledger import metrics
from services.cost_ledger.budgets import Cap, differences
from services.cost_ledger.intake import Intake, is_waited_for
from services.cost_ledger.log import LogSetup, PartitionLog
from services.cost_ledger.own import OwnRequests
from services.cost_ledger.partition import Delivery, PartitionLedger
from services.cost_ledger.progress import Progress
from services.cost_ledger.rows import CapKey

log = logging.getLogger(__name__)

MAX_BATCH: Final = 500
STALLED: Final = timedelta(seconds=15)
ASK_AGAIN: Final = timedelta(seconds=30)
"""Caps that were asked for and are not decided are asked for again after this."""
_POLL_S: Final = 0.1
_LINGER_S: Final = 0.02
_HOUSEKEEPING: Final = timedelta(seconds=1)
_GAP_ATTEMPTS: Final = 3
_GROUP: Final[Mapping[str, str | int | bool]] = {
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 500,
    # Progress is watched by `unready`; leaving the group because of a slow broker would help nobody.
    "max.poll.interval.ms": 86_400_000,
    # A partition that stays here is not loaded again when others move.
    "partition.assignment.strategy": "cooperative-sticky",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "reconnect.backoff.max.ms": 2000,
}


class _Gap(NamedTuple):
    """What is missing before a delivered offset, and how often it was fetched again."""

    next_offset: int
    attempts: int


class Admission:
    """The core's thread: `run` from start to end, `unready` from any thread meanwhile."""

    def __init__(
        self, setup: LogSetup, codec: Codec, caps: Mapping[CapKey, Cap], *, partitions: int, clock: Clock
    ) -> None:
        self._setup = setup
        self._caps = caps
        self._partitions = partitions
        self._clock = clock
        self._stopping = threading.Event()
        self._intake = Intake(codec, self._stopping)
        self._own = OwnRequests(setup)
        self._consumer = Consumer(
            {**setup.kafka.librdkafka(), "group.id": f"{setup.app_id}-admission", **_GROUP},
            logger=logging.getLogger(LIBRDKAFKA),
        )
        self._serving: dict[int, PartitionLedger] = {}
        self._opening: dict[int, tuple[PartitionLedger, Future[None]]] = {}
        # One at a time by partition: a load that nobody wants any more must not fence the one that came after it.
        self._loaders = [ThreadPoolExecutor(1, f"ledger-load-{partition}") for partition in range(partitions)]
        self._deciders = ThreadPoolExecutor(partitions, "ledger-decide")
        self._gaps: dict[int, _Gap] = {}
        self._caps_asked: dict[int, float] = {}
        self._progress = Progress(STALLED)
        self._joined = False
        self._unready: str | None = "no partitions are assigned yet"
        self._looked_at = clock.now()

    def stop(self) -> None:
        """Let `run` finish the batch in flight, hand the partitions over and return."""
        self._stopping.set()

    def run(self) -> None:
        """Work until stopped. Whatever goes wrong is raised: the process must end, and the log knows the truth."""
        topic = self._setup.topics.requests
        with ExitStack() as open_:
            for executor in (*self._loaders, self._deciders):
                open_.enter_context(executor)
            open_.enter_context(closing(self._consumer))
            self._consumer.subscribe(
                [topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
            )
            while not self._stopping.is_set():
                self._deliver(self._fetch())
                self._take_over()
                if self._clock.now() - self._looked_at >= _HOUSEKEEPING:
                    self._keep_house()

    def unready(self) -> str | None:
        """None when every assigned partition is loaded, has its caps and makes progress; else what is missing."""
        if self._clock.now() - self._looked_at > STALLED:
            return f"the core has not moved since {self._looked_at:%H:%M:%S} UTC"
        return self._unready

    def owns(self, partition: int) -> Callable[[str], bool]:
        """Which accounts belong to a partition."""
        return lambda account: partition_for(account, self._partitions) == partition

    def _assigned(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Partitions are ours now; each is paused until it is loaded."""
        self._joined = True
        added = [TopicPartition(tp.topic, tp.partition, OFFSET_END) for tp in partitions]
        self._consumer.incremental_assign(added)
        self._consumer.pause(added)
        for tp in added:
            ledger = PartitionLedger(tp.partition, PartitionLog(self._setup, tp.partition), self.owns(tp.partition))
            self._opening[tp.partition] = ledger, self._loaders[tp.partition].submit(self._load, ledger)

    def _revoked(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Let go of partitions; nothing is in flight between two batches."""
        for tp in partitions:
            self._gaps.pop(tp.partition, None)
            self._caps_asked.pop(tp.partition, None)
            self._progress.forget(tp.partition)
            opening = self._opening.pop(tp.partition, None)
            if opening is not None:
                opening[1].add_done_callback(opening[0].abandon)
            serving = self._serving.pop(tp.partition, None)
            if serving is not None:
                serving.close()

    def _load(self, ledger: PartitionLedger) -> None:
        with metrics.LOAD_SECONDS.labels(ledger.partition).time():
            ledger.open()
        log.info(
            "partition %d is loaded: %d rows, next request %d",
            ledger.partition,
            len(ledger.state.rows),
            ledger.next_offset,
        )

    def _take_over(self) -> None:
        """Begin to serve the partitions that are loaded."""
        for partition, (ledger, loading) in list(self._opening.items()):
            if not loading.done():
                continue
            loading.result()
            if self._seek(partition, ledger.next_offset):
                self._consumer.resume([self._at(partition)])
                del self._opening[partition]
                self._serving[partition] = ledger
                self._ask_for_caps(ledger)

    def _seek(self, partition: int, offset: int) -> bool:
        """Whether the consumer could; right after an assignment it may need a moment."""
        try:
            self._consumer.seek(TopicPartition(self._setup.topics.requests, partition, offset))
        except KafkaException as exc:
            log.info("partition %d cannot be read from offset %d yet: %s", partition, offset, exc)
            return False
        return True

    def _fetch(self) -> dict[int, list[Message]]:
        """What has arrived, by partition; what nobody waits for, when alone, lingers a moment."""
        found: dict[int, list[Message]] = defaultdict(list)
        messages = self._poll(_POLL_S, MAX_BATCH)
        if 0 < len(messages) < MAX_BATCH and not any(map(is_waited_for, messages)):
            messages += self._poll(_LINGER_S, MAX_BATCH - len(messages))
        for message in messages:
            found[message.partition() or 0].append(message)
        return found

    def _poll(self, timeout_s: float, most: int) -> list[Message]:
        """One first: `consume` alone would wait for a full batch."""
        first = self._consumer.poll(timeout_s)
        found = []
        for message in [] if first is None else [first, *self._consumer.consume(most - 1, 0)]:
            error = message.error()
            if error is None:
                found.append(message)
            elif error.fatal():
                raise KafkaException(error)
            else:
                log.warning("requests cannot be read at present: %s", error.str())
        return found

    def _deliver(self, found: Mapping[int, Sequence[Message]]) -> None:
        # What comes for a partition that is not served yet is fetched again from the position once it is.
        work = [(self._serving[p], messages) for p, messages in found.items() if p in self._serving]
        # Partitions commit at the same time; one alone needs no other thread.
        deliveries = map(self._decide, work) if len(work) == 1 else self._deciders.map(self._decide, work)
        for (ledger, messages), delivery in zip(work, deliveries, strict=True):
            if delivery is Delivery.GAP:
                self._fetch_again(ledger, messages[0].offset() or 0)
            elif delivery is Delivery.DECIDED:
                self._gaps.pop(ledger.partition, None)

    def _decide(self, work: tuple[PartitionLedger, Sequence[Message]]) -> Delivery:
        ledger, messages = work
        logged = [self._intake.logged(message) for message in messages]
        with metrics.COMMIT_SECONDS.time():
            return ledger.decide(logged)

    def _fetch_again(self, ledger: PartitionLedger, delivered: int) -> None:
        """The consumer left something out: fetch from the position. What is missing three times is not there."""
        partition, expected = ledger.partition, ledger.next_offset
        known = self._gaps.get(partition)
        attempts = known.attempts + 1 if known is not None and known.next_offset == expected else 1
        self._gaps[partition] = _Gap(expected, attempts)
        if attempts > _GAP_ATTEMPTS and delivered > expected:
            log.error(
                "partition %d: the broker holds no requests %d to %d; going on", partition, expected, delivered - 1
            )
            ledger.skip_to(delivered)
        else:
            log.warning(
                "partition %d: offset %d was delivered before %d; fetching again", partition, delivered, expected
            )
        self._seek(partition, ledger.next_offset)

    def _keep_house(self) -> None:
        self._looked_at = now = self._clock.now()
        for partition, ledger in self._serving.items():
            self._own.append(partition, ledger.overdue(now))
            if now.timestamp() - self._caps_asked.get(partition, 0) >= ASK_AGAIN.total_seconds():
                self._ask_for_caps(ledger)
            _, end = self._consumer.get_watermark_offsets(self._at(partition), cached=True)
            self._progress.note(partition, ledger.next_offset, end, now)
        self._unready = self._what_is_missing()
        self._show_lag()

    def _what_is_missing(self) -> str | None:
        if not self._joined:
            return "no partitions are assigned yet"
        for partition in sorted(self._opening):
            return f"partition {partition} is being loaded"
        for partition, ledger in sorted(self._serving.items()):
            if self._missing_caps(ledger):
                return f"partition {partition} has not taken over the budgets file yet"
        stalled = self._progress.stalled(self._clock.now())
        if stalled is not None:
            partition, since = stalled
            return f"partition {partition} has requests waiting and has decided none since {since:%H:%M:%S} UTC"
        return None

    def _missing_caps(self, ledger: PartitionLedger) -> list[CostRequest]:
        owns = self.owns(ledger.partition)
        return differences(self._caps, ledger.state.caps, owns=owns, at=self._clock.now())

    def _ask_for_caps(self, ledger: PartitionLedger) -> None:
        self._caps_asked[ledger.partition] = self._clock.now().timestamp()
        self._own.append(ledger.partition, self._missing_caps(ledger))

    def _show_lag(self) -> None:
        topic = self._setup.topics.requests
        offsets = [TopicPartition(topic, p, ledger.next_offset) for p, ledger in self._serving.items()]
        try:
            if offsets:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exc:  # nothing depends on it
            log.debug("the group's offsets were not committed: %s", exc)

    def _at(self, partition: int) -> TopicPartition:
        return TopicPartition(self._setup.topics.requests, partition)
