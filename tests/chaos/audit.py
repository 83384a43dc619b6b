"""What must be true after chaos, read from Kafka and PostgreSQL by clients that know nothing of the stage."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses
from tests.chaos.target import Target
from tests.support.kafka import read_all

PARTITIONS = 4
AWAY = (TimeoutError, KafkaException, psycopg.OperationalError)
"""What a look says while Kafka or PostgreSQL is away or stands still."""
_LOOK_EVERY_S = 1.0


@dataclass
class Verdict:
    """Violations, none of which may be, and what was counted."""

    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class StandStill:
    """How long commits stood still while records lay behind them. Pure.

    `long_jobs` are the records, with partition and offset, of a job that may take its time, commands that woke it
    among them: what waits for one of those does not stand still.
    """

    def __init__(self) -> None:
        self.long_jobs: set[tuple[tuple[str, int], int]] = set()
        self.longest_s = 0.0
        self.where = ""
        self._since: dict[tuple[str, int], tuple[int, float]] = {}

    def look(self, now: float, committed: Mapping[tuple[str, int], int], ends: Mapping[tuple[str, int], int]) -> None:
        """Take in where every partition is committed and where it ends; `now` in seconds."""
        for place, end in ends.items():
            offset = committed.get(place, 0)
            before, since = self._since.get(place, (offset, now))
            if before != offset or offset >= end or (place, offset) in self.long_jobs:
                since = now
            self._since[place] = offset, since
            if now - since > self.longest_s:
                self.longest_s = now - since
                self.where = f"{place[0]}-{place[1]}@{offset} of {end}, at {time.strftime('%H:%M:%S')}"


class Auditor:
    """Watches the consumer group during a run, and judges its end.

    `account` names the run's shares, `long_share` one whose job takes minutes.
    """

    def __init__(
        self, stack: Addresses, codec: Codec, target: Target, *, account: str, long_share: str | None = None
    ) -> None:
        self._stack = stack
        self._codec = codec
        self._target = target
        self._topics = (target.reads, target.requested)
        self.account = account
        self._long_share = long_share
        self.still = StandStill()
        self._ended = asyncio.Event()
        self._suspects: set[str] = set()
        self._places: dict[str, tuple[int, int]] = {}
        self._records = _reader(stack.kafka, self._topics)
        # A consumer, not AdminClient.list_consumer_group_offsets: that ends the process with a segmentation fault
        # when the broker is up again and the group's coordinator is not (librdkafka issue 5040).
        self._group = Consumer({"bootstrap.servers": stack.kafka, "group.id": target.group, "log_level": 0})

    @property
    def postgres(self) -> str:
        """URL of the database."""
        return self._stack.postgres

    async def watch(self) -> None:
        """Note every share whose record was committed while its job was neither done nor written down as waiting.

        Ends after `verdict` was asked for.
        """
        while not self._ended.is_set():
            with contextlib.suppress(*AWAY):
                await asyncio.to_thread(self._look)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _LOOK_EVERY_S)

    def close(self) -> None:
        """Leave Kafka; after `watch` has ended."""
        self._records.close()
        self._group.close()

    def _look(self) -> None:
        committed = self._committed()  # first: what is unfinished after this was so before
        unfinished = set(
            self._column(
                "SELECT share_id FROM jobs WHERE account = %s AND state IN ('queued', 'running')", self.account
            )
        )
        known = set(self._column("SELECT share_id FROM jobs WHERE account = %s", self.account))
        for message in self._records.consume(1000, 0.2):
            if self.account.encode() in (message.value() or b""):
                share = (message.key() or b"").decode()
                topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
                if topic == self._target.reads:
                    self._places[share] = partition, offset
                if share == self._long_share:
                    self.still.long_jobs.add(((topic, partition), offset))
        for share, (partition, offset) in self._places.items():
            if offset < committed.get((self._target.reads, partition), 0) and (
                share in unfinished or share not in known
            ):
                self._suspects.add(share)
        self.still.look(time.monotonic(), committed, self._ends())

    async def settled(self, shares: int) -> bool:
        """All jobs have ended, everything is committed, the ledger holds nothing and its journal is complete."""
        try:
            return await asyncio.to_thread(self._settled, shares)
        except AWAY:
            return False

    def _settled(self, shares: int) -> bool:
        ended = self._column(
            "SELECT share_id FROM jobs WHERE account = %s AND state IN ('done', 'skipped', 'failed')", self.account
        )
        return len(ended) >= shares and not self._held() and not self._lag() and self._journal() == self._books()

    def works(self) -> dict[str, str]:
        """Work key by share."""
        rows = self._rows("SELECT share_id, work_key FROM jobs WHERE account = %s", self.account)
        return {str(share): str(key) for share, key in rows}

    async def verdict(self, shares: list[str], invoice_micro_usd: int) -> Verdict:
        """Judge the run; the last thing to ask."""
        self._ended.set()
        events: dict[str, set[tuple[bytes, bytes]]] = {}
        verdict = Verdict()
        for _, value, event_id in await asyncio.to_thread(_read_all, self._stack.kafka, self._target.writes):
            event = await self._codec.decode(self._target.writes, value)
            if isinstance(event, self._target.result) and event.account == self.account:
                verdict.counts["events"] += 1
                events.setdefault(event.share_id, set()).add((event_id, value))
        verdict.counts["repeated_events"] = verdict.counts["events"] - len(events)
        await asyncio.to_thread(self._judge, verdict, shares, invoice_micro_usd, events)
        return verdict

    def _judge(
        self, verdict: Verdict, shares: list[str], invoice: int, events: Mapping[str, set[tuple[bytes, bytes]]]
    ) -> None:
        wrong = verdict.violations.append
        states = self._states()
        for share in shares:
            if states.get(share) != "done":
                wrong(f"{share} is {states.get(share)}: {self._reason(share)}")
            if len(events.get(share, ())) != 1:
                wrong(f"{share} has {len(events.get(share, ()))} different {self._target.writes}")
        kept, unconfirmed = self._books()
        if not kept <= invoice <= kept + unconfirmed:
            wrong(f"billed {invoice}, settled {kept}, unconfirmed {unconfirmed} micro-dollars")
        if held := self._held():
            wrong(f"{held} micro-dollars are still held")
        if self._journal() != (kept, unconfirmed):
            wrong(f"the ledger has {self._journal()} as settled and unconfirmed, the calls {(kept, unconfirmed)}")
        if open_calls := self._column(
            "SELECT state FROM calls WHERE account = %s AND state IN ('reserving', 'calling', 'answered')",
            self.account,
        ):
            wrong(f"calls were left open: {Counter(open_calls)}")
        if lag := self._lag():
            wrong(f"lag {lag}")
        commanded = {key for key, _, _ in _read_all(self._stack.kafka, self._target.requested)}
        if lost := self._suspects - commanded:
            wrong(f"committed while unfinished: {sorted(lost)}")
        for state in self._column("SELECT state FROM calls WHERE account = %s", self.account):
            verdict.counts[f"calls_{state}"] += 1
        verdict.counts.update(billed_micro_usd=invoice, settled_micro_usd=kept, unconfirmed_micro_usd=unconfirmed)

    def _committed(self) -> dict[tuple[str, int], int]:
        found = self._group.committed(
            [TopicPartition(topic, p) for topic in self._topics for p in range(PARTITIONS)], 10
        )
        if failed := [tp.error for tp in found if tp.error]:
            raise KafkaException(failed[0])
        return {(tp.topic, tp.partition): tp.offset for tp in found if tp.offset >= 0}

    def _ends(self) -> dict[tuple[str, int], int]:
        places = [(topic, partition) for topic in self._topics for partition in range(PARTITIONS)]
        return {place: self._group.get_watermark_offsets(TopicPartition(*place), timeout=10)[1] for place in places}

    def _lag(self) -> dict[str, int]:
        committed = self._committed()
        behind = {place: end - committed.get(place, 0) for place, end in self._ends().items()}
        return {f"{topic}-{partition}": lag for (topic, partition), lag in behind.items() if lag}

    def _column(self, query: str, *args: object) -> list[str]:
        return [str(row[0]) for row in self._rows(query, *args)]

    def _rows(self, query: str, *args: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self._stack.postgres) as connection:
            return connection.execute(query.encode(), args).fetchall()

    def _states(self) -> dict[str, str]:
        rows = self._rows("SELECT share_id, state FROM jobs WHERE account = %s", self.account)
        return {str(share): str(state) for share, state in rows}

    def _reason(self, share: str) -> list[str]:
        return self._column("SELECT attempt || ' ' || coalesce(reason, '') FROM jobs WHERE share_id = %s", share)

    def _books(self) -> tuple[int, int]:
        return self._pair(
            """
            SELECT coalesce(sum(actual_micro_usd), 0)::bigint,
                   coalesce(sum(hold_micro_usd) FILTER (WHERE state = 'unconfirmed'), 0)::bigint
              FROM calls WHERE account = %s
            """
        )

    def _journal(self) -> tuple[int, int]:
        return self._pair(
            """
            SELECT coalesce(sum(settled_micro_usd), 0)::bigint, coalesce(sum(unconfirmed_micro_usd), 0)::bigint
              FROM ledger_hourly WHERE account = %s AND scope <> 'total'
            """
        )

    def _pair(self, query: str) -> tuple[int, int]:
        ((first, second),) = self._rows(query, self.account)
        return int(str(first)), int(str(second))

    def _held(self) -> int:
        query = "SELECT coalesce(sum(held_micro_usd), 0)::bigint FROM ledger_hourly WHERE account = %s"
        return int(self._column(query, self.account)[0])


def _reader(kafka: str, topics: Iterable[str]) -> Consumer:
    """A consumer of all of some topics, which commits nothing."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "audit",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    places = [(topic, partition) for topic in topics for partition in range(PARTITIONS)]
    consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
    return consumer


def _read_all(kafka: str, topic: str) -> list[tuple[str, bytes, bytes]]:
    """Key, value and CloudEvents id of every record. Blocks."""
    records: list[tuple[str, bytes, bytes]] = []
    for message in read_all(kafka, topic):
        event_id = dict(message.headers() or []).get("ce_id") or b""
        assert isinstance(event_id, bytes)
        records.append(((message.key() or b"").decode(), message.value() or b"", event_id))
    return records
