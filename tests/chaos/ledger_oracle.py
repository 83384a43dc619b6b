"""An oracle outside the ledger: reads its topics and adds up in its own way. It shares no code with the ledger."""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from confluent_kafka import Consumer, Message, TopicPartition
from fastavro import schemaless_reader
from fastavro.types import Schema

from tests.chaos.ledger_client import DECISION, FRAME, REQUEST

Window = tuple[str, str, str, datetime]
Limit = tuple[str, str, str]
SHOWN = 10


@dataclass
class Finding:
    """What the oracle saw."""

    counts: Counter[str] = field(default_factory=Counter)
    peak: float = 0.0
    violations: list[str] = field(default_factory=list)

    def wrong(self, sentence: str) -> None:
        """Remember a violation; the first few are enough to begin with."""
        self.counts["violations"] += 1
        if len(self.violations) < SHOWN:
            self.violations.append(sentence)


@dataclass
class _Hold:
    amount: int
    windows: list[Window]
    counts: int


class Oracle:
    """Follows the decisions of one partition after another."""

    def __init__(self) -> None:
        self.finding = Finding()
        self._answers: dict[tuple[str, str], tuple[str, int]] = {}
        self._holds: dict[tuple[str, str], _Hold] = {}
        self._used: Counter[Window] = Counter()

    def partition(self, requests: list[dict[str, object]], decisions: Iterable[dict[str, object]]) -> None:
        """Check one partition: all its requests by offset, and its committed decisions in order."""
        expected = 0
        caps: dict[Limit, int | None] = {}
        for decision in decisions:
            if decision["outcome"] == "day-opened":
                continue
            offset = int(str(decision["request_offset"]))
            self.finding.counts["decisions"] += 1
            if offset != expected:
                what = "decided twice" if offset < expected else "left out"
                self.finding.wrong(f"request {offset} came where {expected} was due: {what}")
                expected = max(expected, offset)
            if offset < len(requests):
                asked = requests[offset]
                if (asked["request_id"], asked["op"]) != (decision["request_id"], decision["op"]):
                    self.finding.wrong(f"the answer at {offset} is to another request")
            expected = max(expected, offset + 1)
            self._follow(decision, caps)
        if expected != len(requests):
            self.finding.wrong(f"{len(requests) - expected} requests at the end were never answered")
        self.finding.counts["requests"] += len(requests)

    def _follow(self, decision: Mapping[str, object], caps: dict[Limit, int | None]) -> None:
        outcome, account = str(decision["outcome"]), str(decision["account"])
        key = account, str(decision["request_id"])
        self.finding.counts[outcome] += 1
        if outcome == "cap-changed":
            limit = account, str(decision["scope"]), str(decision["window"])
            cap = decision["cap_micro_usd"]
            caps[limit] = None if cap is None else int(str(cap))
        elif decision["op"] == "reserve" and outcome in ("granted", "denied"):
            self._answered(key, decision, caps)
        elif decision["op"] != "set-cap" and decision["previous"] is None and key in self._holds:
            # Answers are kept for ten minutes after an end, longer than a run: the ledger has to know this hold.
            self.finding.counts["lost_grants"] += 1
            self.finding.wrong(f"{key[1]} was granted, and the ledger does not know it any more")
        elif outcome in ("settled", "released"):
            hold = self._holds.get(key)
            if hold is not None and decision["previous"] in ("held", "unconfirmed", "released"):
                counts = int(str(decision["actual_micro_usd"])) if outcome == "settled" else 0
                if outcome == "settled" and counts > hold.amount:
                    self.finding.counts["overruns"] += 1
                if decision["previous"] != "released" or outcome == "settled":
                    self._recount(hold, counts)

    def _answered(
        self, key: tuple[str, str], decision: Mapping[str, object], caps: Mapping[Limit, int | None]
    ) -> None:
        answer = str(decision["outcome"]), int(str(decision["amount_micro_usd"]))
        first = self._answers.setdefault(key, answer)
        if first != answer:
            self.finding.wrong(f"{key[1]} was answered {first} and then {answer}")
        if answer[0] == "denied" or key in self._holds:
            return
        hour, day = decision["hour_start"], decision["day_start"]
        assert isinstance(hour, datetime)
        assert isinstance(day, datetime)
        scopes = (str(decision["scope"]), "total")
        windows = [(key[0], scope, name, at) for scope in scopes for name, at in (("hour", hour), ("day", day))]
        hold = self._holds[key] = _Hold(answer[1], windows, 0)
        self._recount(hold, hold.amount)
        for window in windows:
            limit = window[0], window[1], window[2]
            cap = caps[limit] if limit in caps else caps.get(("default", window[1], window[2]))
            if cap is not None and hold.amount:
                self.finding.peak = max(self.finding.peak, self._used[window] / max(cap, 1))
                if self._used[window] > cap:
                    self.finding.counts["overshoots"] += 1
                    self.finding.wrong(f"{self._used[window]} of {cap} at the grant of {key[1]} ({window[1:3]})")

    def _recount(self, hold: _Hold, counts: int) -> None:
        for window in hold.windows:
            self._used[window] += counts - hold.counts
        hold.counts = counts

    def used(self) -> int:
        """Settled, held and unconfirmed together, over all hours."""
        return sum(
            counts for (_, scope, window, _), counts in self._used.items() if (window, scope) == ("hour", "total")
        )

    def heard(self, request_id: str, outcome: str, account_ids: Mapping[str, str]) -> None:
        """What a client heard has to be in the log."""
        known = self._answers.get((account_ids.get(request_id, ""), request_id))
        if known is None or known[0] != outcome:
            self.finding.wrong(f"a client heard {outcome} for {request_id}, the log says {known}")


def read(kafka: str, topic: str, partition: int, *, committed: bool = True) -> Iterator[Message]:
    """A partition from its beginning to its present end."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"oracle-{topic}",
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0)])
    try:
        while True:
            for message in consumer.consume(5000, 0.5):
                if message.error() is not None:
                    return  # the end of the partition
                yield message
    finally:
        consumer.close()


def decoded(messages: Iterable[Message], schema: Schema) -> Iterator[dict[str, object]]:
    """Their Avro, without the frame; what is no Avro of ours is an empty request."""
    for message in messages:
        record = schemaless_reader(io.BytesIO((message.value() or b"")[FRAME:]), schema, None)
        assert isinstance(record, dict)
        yield record


def examine(kafka: str, prefix: str, partitions: int, heard: Iterable[tuple[str, str]]) -> Finding:
    """Read everything and say what is wrong with it."""
    oracle = Oracle()
    account_of: dict[str, str] = defaultdict(str)
    for partition in range(partitions):
        requests = list(decoded(read(kafka, f"{prefix}cost.requests", partition), REQUEST))
        account_of.update({str(request["request_id"]): str(request["account"]) for request in requests})
        oracle.partition(requests, decoded(read(kafka, f"{prefix}cost.decisions", partition), DECISION))
    oracle.finding.counts["used"] = oracle.used()
    for request_id, outcome in heard:
        oracle.heard(request_id, outcome, account_of)
        oracle.finding.counts["heard"] += 1
    return oracle.finding
