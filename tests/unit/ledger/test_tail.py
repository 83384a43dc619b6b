"""What somebody else writes to the ledger's topics, or a registry that is away, does not end the ledger."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import cast

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from pydantic_core import to_json

from millrace.cluster import Cluster
from millrace.contracts.events import CostSpend, Event
from millrace.contracts.wire import Codec
from millrace.errors import Poison, Unavailable
from millrace.money import MicroUSD
from services.cost_ledger import decode
from services.cost_ledger.late import LateRows, Place
from services.cost_ledger.tables import KafkaDecisions
from services.cost_ledger.tail import Tail

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE, SPEND = "hourly-changelog", "cost.spend"
KEY = "a|transcribe|0"


def spend_row(as_of: int) -> CostSpend:
    none = MicroUSD(0)
    return CostSpend(
        account="a",
        scope="transcribe",
        window="hour",
        start=datetime(1970, 1, 1, tzinfo=UTC),
        settled_micro_usd=none,
        held_micro_usd=none,
        unconfirmed_micro_usd=none,
        overrun_micro_usd=none,
        cap_micro_usd=None,
        calls=1,
        as_of_offset=as_of,
        updated_at=NOW,
    )


class FlakyCodec:
    """Answers in turn, or fails."""

    def __init__(self, *answers: Event | Exception) -> None:
        self.answers = deque(answers)

    async def decode(self, topic: str, raw: bytes) -> Event:
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer


class OneFetch:
    """A consumer that has some records, once."""

    def __init__(self, records: Iterable[ConsumerRecord]) -> None:
        self.records = list(records)

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition(TABLE, 0), TopicPartition(SPEND, 0)}

    async def getmany(self, **_: object) -> dict[TopicPartition, list[ConsumerRecord]]:
        return {TopicPartition(record.topic, 0): self.records for record in self.records}


def record(topic: str, key: bytes | None, value: bytes, offset: int = 0) -> ConsumerRecord:
    return ConsumerRecord(topic, 0, offset, 0, 0, key, value, None, 0, 0, ())


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting takes no time."""
    monkeypatch.setattr(decode, "_AWAY_S", 0)


async def noted(codec: FlakyCodec, *records: ConsumerRecord) -> dict[Place, int]:
    late = LateRows()
    consumer = cast(AIOKafkaConsumer, OneFetch(records))
    await Tail(consumer, {TABLE: "hour"}, SPEND, cast(Codec, codec)).read([0], late, NOW)
    return {place: newest.as_of for place, newest in late._newest.items()}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (to_json(KEY), b"{secret"),
        (b"{secret", to_json({"as_of": 3})),
        (None, to_json({"as_of": 3})),
        (to_json(["secret"]), to_json({"as_of": 3})),
        (to_json(KEY), to_json(["secret"])),
        (to_json(KEY), to_json({"as_of": "secret"})),
        (to_json(KEY), to_json({"as_of": ["secret"]})),
    ],
)
async def test_what_is_no_row_of_a_table_is_left_out_and_named(
    key: bytes | None, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    good = record(TABLE, to_json(KEY), to_json({"as_of": 7}), offset=6)
    with caplog.at_level(logging.WARNING):
        found = await noted(FlakyCodec(), record(TABLE, key, value, offset=5), good)
    assert found == {Place(TABLE, 0, "hour", KEY): 7}
    assert f"{TABLE}-0@5" in caplog.text
    assert "secret" not in caplog.text


async def test_what_is_no_row_of_the_spend_topic_is_left_out() -> None:
    codec = FlakyCodec(Poison("bad"), spend_row(9))
    found = await noted(codec, record(SPEND, b"k", b"bad"), record(SPEND, b"k", b"good"))
    assert found == {Place(SPEND, 0, "hour", KEY): 9}


async def test_rows_wait_for_the_registry(at_once: None) -> None:
    codec = FlakyCodec(Unavailable("away"), Unavailable("away"), spend_row(9))
    assert await noted(codec, record(SPEND, b"k", b"row")) == {Place(SPEND, 0, "hour", KEY): 9}


async def test_decisions_that_are_read_again_wait_for_the_registry(at_once: None) -> None:
    answer = spend_row(1)  # whatever it is
    decisions = KafkaDecisions(Cluster(""), "", cast(Codec, FlakyCodec(Unavailable("away"), answer)))
    assert cast(object, await decisions._decode(b"")) is answer
