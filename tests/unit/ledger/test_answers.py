"""Which decisions a client hands to whoever waits for one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from aiokafka import ConsumerRecord

from millrace.cluster import Cluster
from millrace.contracts.events import CostDecision, CostOp, CostOutcome
from millrace.ledger.answers import Answers
from millrace.ledger.topics import DECISIONS, REQUEST_ID_HEADER
from millrace.testing.registry import codec_in_memory


@dataclass
class Record:
    """The part of a record that is read."""

    value: bytes
    headers: list[tuple[str, bytes]]
    topic: str = DECISIONS
    partition: int = 0
    offset: int = 0


def decision(request_id: str, op: CostOp, outcome: CostOutcome) -> CostDecision:
    return CostDecision(
        request_id=request_id,
        op=op,
        outcome=outcome,
        account="a",
        scope="embed",
        request_offset=0,
        decided_at=datetime.now(UTC),
    )


async def test_only_an_answer_to_what_was_asked_is_one() -> None:
    codec = await codec_in_memory()
    answers = Answers(Cluster("none"), DECISIONS, 1, codec)
    with answers.expect("mine", "reserve") as found:
        for one in (
            decision("another's", "reserve", "granted"),
            decision("mine", "release", "released"),
            decision("mine", "reserve", "day-opened"),  # a new day repeats the holds that are open
            decision("mine", "reserve", "denied"),
        ):
            record = Record(codec.encode(DECISIONS, one), [(REQUEST_ID_HEADER, one.request_id.encode())])
            await answers._hand_out(cast(ConsumerRecord, record))
        unreadable = Record(b"nonsense", [(REQUEST_ID_HEADER, b"mine")])
        await answers._hand_out(cast(ConsumerRecord, unreadable))
        assert found.qsize() == 1
        assert (await found.get()).outcome == "denied"


async def test_all_who_wait_for_the_same_request_hear_its_answer() -> None:
    codec = await codec_in_memory()
    answers = Answers(Cluster("none"), DECISIONS, 1, codec)
    one = decision("mine", "reserve", "granted")
    record = Record(codec.encode(DECISIONS, one), [(REQUEST_ID_HEADER, b"mine")])
    with answers.expect("mine", "reserve") as first:
        with answers.expect("mine", "reserve") as second:
            await answers._hand_out(cast(ConsumerRecord, record))
        assert (first.qsize(), second.qsize()) == (1, 1)
        await answers._hand_out(cast(ConsumerRecord, record))
        assert (first.qsize(), second.qsize()) == (2, 1), "who has left hears no more"
