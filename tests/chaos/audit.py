"""What must be true after chaos, read from Kafka and PostgreSQL by clients that know nothing of the stage."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from millrace.contracts.events import SummaryReady
from millrace.contracts.wire import Codec
from millrace.embedded.readyfile import Addresses

GROUP = "millrace-summarize-agent"
PARTITIONS = 4
AWAY = (TimeoutError, KafkaException, psycopg.OperationalError)
"""What a look says while Kafka or PostgreSQL stands still."""
_LOOK_EVERY_S = 1.0


@dataclass
class Verdict:
    """Problems, none of which may be, and figures to look at."""

    problems: list[str] = field(default_factory=list)
    figures: str = ""


class Auditor:
    """Watches the consumer group during a run, and judges its end. `account` names the run's shares."""

    def __init__(self, stack: Addresses, codec: Codec, *, account: str) -> None:
        self._stack = stack
        self._codec = codec
        self.account = account
        self._ended = asyncio.Event()
        self._suspects: set[str] = set()
        self._places: dict[str, tuple[int, int]] = {}
        self._created = _reader(stack.kafka, "share.created")

    async def watch(self) -> None:
        """Note every share whose record was committed while its job was neither done nor written down as waiting.

        Ends after `verdict` was asked for.
        """
        while not self._ended.is_set():
            with contextlib.suppress(*AWAY):
                await asyncio.to_thread(self._look)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), _LOOK_EVERY_S)
        self._created.close()

    def _look(self) -> None:
        committed = self._committed("share.created")  # first: what is unfinished after this was so before
        unfinished = set(
            self._column(
                "SELECT share_id FROM jobs WHERE account = %s AND state IN ('queued', 'running')", self.account
            )
        )
        known = set(self._column("SELECT share_id FROM jobs WHERE account = %s", self.account))
        for message in self._created.consume(1000, 0.2):
            if self.account.encode() in (message.value() or b""):
                share = (message.key() or b"").decode()
                self._places[share] = (message.partition() or 0, message.offset() or 0)
        for share, (partition, offset) in self._places.items():
            if offset < committed.get(partition, 0) and (share in unfinished or share not in known):
                self._suspects.add(share)

    async def settled(self, shares: int) -> bool:
        """All jobs have ended, everything is committed and the ledger holds nothing."""
        try:
            return await asyncio.to_thread(self._settled, shares)
        except AWAY:
            return False

    def _settled(self, shares: int) -> bool:
        ended = self._column(
            "SELECT share_id FROM jobs WHERE account = %s AND state IN ('done', 'skipped', 'failed')", self.account
        )
        return len(ended) >= shares and not self._held() and not self._lag()

    async def verdict(self, shares: list[str], invoice_micro_usd: int) -> Verdict:
        """Judge the run; the last thing to ask."""
        self._ended.set()
        outputs: Counter[str] = Counter()
        for _, _, _, value in await asyncio.to_thread(_read_all, self._stack.kafka, "summary.ready"):
            event = await self._codec.decode("summary.ready", value)
            if isinstance(event, SummaryReady) and event.account == self.account:
                outputs[event.share_id] += 1
        return await asyncio.to_thread(self._judge, shares, invoice_micro_usd, outputs)

    def _judge(self, shares: list[str], invoice: int, outputs: Counter[str]) -> Verdict:
        verdict = Verdict()
        problem = verdict.problems.append
        states = self._states()
        for share in shares:
            if states.get(share) != "done":
                problem(f"{share} is {states.get(share)}: {self._reason(share)}")
            if not outputs[share]:
                problem(f"{share} has no summary.ready")
        kept, unconfirmed = self._books()
        if not kept <= invoice <= kept + unconfirmed:
            problem(f"billed {invoice}, settled {kept}, unconfirmed {unconfirmed} micro-dollars")
        if held := self._held():
            problem(f"{held} micro-dollars are still held")
        if self._journal() != (kept, unconfirmed):
            problem(f"the ledger has {self._journal()} as settled and unconfirmed, the calls {(kept, unconfirmed)}")
        if open_calls := self._column(
            "SELECT state FROM calls WHERE account = %s AND state IN ('reserving', 'calling', 'answered')",
            self.account,
        ):
            problem(f"calls were left open: {Counter(open_calls)}")
        if lag := self._lag():
            problem(f"lag {lag}")
        commanded = {key for key, _, _, _ in _read_all(self._stack.kafka, "summarize.requested")}
        if lost := self._suspects - commanded:
            problem(f"committed while unfinished: {sorted(lost)}")
        calls = Counter(self._column("SELECT state FROM calls WHERE account = %s", self.account))
        verdict.figures = (
            f"{len(shares)} shares, {sum(outputs.values())} events, calls "
            + ", ".join(f"{count} {state}" for state, count in sorted(calls.items()))
            + f"; billed {invoice}, settled {kept}, unconfirmed {unconfirmed} micro-dollars"
        )
        return verdict

    def _committed(self, topic: str) -> dict[int, int]:
        # By a consumer, not AdminClient.list_consumer_group_offsets: that ends the process with a segmentation fault
        # when the broker is up again and the group's coordinator is not (librdkafka issue 5040).
        consumer = Consumer({"bootstrap.servers": self._stack.kafka, "group.id": GROUP, "log_level": 0})
        try:
            found = consumer.committed([TopicPartition(topic, partition) for partition in range(PARTITIONS)], 10)
        finally:
            consumer.close()
        if failed := [tp.error for tp in found if tp.error]:
            raise KafkaException(failed[0])
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0}

    def _lag(self) -> dict[str, int]:
        lag: dict[str, int] = {}
        consumer = Consumer({"bootstrap.servers": self._stack.kafka, "group.id": "audit"})
        try:
            for topic in ("share.created", "summarize.requested"):
                committed = self._committed(topic)
                for partition in range(PARTITIONS):
                    _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                    if behind := end - committed.get(partition, 0):
                        lag[f"{topic}-{partition}"] = behind
        finally:
            consumer.close()
        return lag

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


def _reader(kafka: str, topic: str, *, ends: bool = False) -> Consumer:
    """A consumer of all of a topic, which commits nothing; with `ends` it says where each partition ends."""
    consumer = Consumer(
        {"bootstrap.servers": kafka, "group.id": "audit", "enable.auto.commit": False, "enable.partition.eof": ends}
    )
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    return consumer


def _read_all(kafka: str, topic: str) -> list[tuple[str, int, int, bytes]]:
    """Key, partition, offset and value of every record. Blocks."""
    consumer = _reader(kafka, topic, ends=True)
    records: list[tuple[str, int, int, bytes]] = []
    ended: set[int | None] = set()
    try:
        while len(ended) < PARTITIONS:
            for message in consumer.consume(1000, 0.3):
                if message.error() is None:
                    key = (message.key() or b"").decode()
                    records.append((key, message.partition() or 0, message.offset() or 0, message.value() or b""))
                else:
                    ended.add(message.partition())
    finally:
        consumer.close()
    return records
