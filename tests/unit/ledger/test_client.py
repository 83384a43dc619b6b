"""What the ledger's client makes of answers, and of none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

import pytest

from millrace.clock import SystemClock
from millrace.contracts.events import CostDecision, CostOp, CostOutcome, CostRequest
from millrace.contracts.wire import Codec
from millrace.errors import Refusal, Unavailable
from millrace.ids import RequestId
from millrace.kafka.producer import Producer
from millrace.kafka.records import Header
from millrace.ledger.answers import Answer, Answers
from millrace.ledger.client import LedgerClient
from millrace.ledger.grant import Granted
from millrace.ledger.topics import NO_CAPS_YET, REQUESTS, LedgerTopics
from millrace.money import MicroUSD
from millrace.testing.registry import codec_in_memory


class Ledger:
    """A ledger at the other end of Kafka: answers each reserve with the next of these outcomes, then no more."""

    def __init__(self, codec: Codec, *outcomes: CostOutcome) -> None:
        self.ops: list[CostOp] = []
        self._codec = codec
        self._outcomes = iter(outcomes)
        self._answers = Answer()

    @contextmanager
    def expect(self, request_id: str, op: CostOp) -> Iterator[Answer]:
        yield self._answers

    async def send(
        self,
        topic: str,
        *,
        key: bytes,
        value: bytes,
        headers: Sequence[Header],
        partition: int | None = None,
        linger: bool = False,
    ) -> None:
        request = await self._codec.decode(REQUESTS, value)
        assert isinstance(request, CostRequest)
        self.ops.append(request.op)
        outcome = next(self._outcomes, None) if request.op == "reserve" else None
        if outcome is not None:
            await self._answers.put(
                CostDecision(
                    request_id=request.request_id,
                    op=request.op,
                    outcome=outcome,
                    account=request.account,
                    scope=request.scope,
                    reason=NO_CAPS_YET if outcome == "invalid" else None,
                    request_offset=0,
                    decided_at=request.requested_at,
                )
            )


async def reserve(ledger: Ledger, codec: Codec, within_s: float = 30.0) -> Granted | Refusal:
    client = LedgerClient(
        cast(Answers, ledger),
        cast(Producer, ledger),
        codec,
        source="test",
        clock=SystemClock(),
        topics=LedgerTopics(),
        partitions=1,
        answer_within_s=within_s,
        ask_again_s=0.03,
    )
    try:
        return await client.reserve(
            RequestId("r"), account="a", scope="embed", amount=MicroUSD(1), hold_for=timedelta(minutes=1)
        )
    finally:
        await client.close()


async def test_a_ledger_that_cannot_decide_yet_is_asked_again_and_its_word_is_no_refusal() -> None:
    codec = await codec_in_memory()
    ledger = Ledger(codec, "invalid", "invalid", "granted")
    assert isinstance(await reserve(ledger, codec), Granted)
    assert ledger.ops == ["reserve"] * 3


async def test_a_ledger_that_never_can_decide_grants_nothing_and_is_told_to_let_go() -> None:
    codec = await codec_in_memory()
    ledger = Ledger(codec, "invalid")
    with pytest.raises(Unavailable, match=r"no caps are set yet: .*; nothing was called"):
        await reserve(ledger, codec, within_s=0.5)
    assert set(ledger.ops[:-1]) == {"reserve"}
    assert ledger.ops[-1] == "release"


async def test_a_caller_that_gives_up_while_it_waits_leaves_no_hold() -> None:
    codec = await codec_in_memory()
    ledger = Ledger(codec)
    asking = asyncio.create_task(reserve(ledger, codec))
    while not ledger.ops:  # noqa: ASYNC110  # it is asked in a task of its own
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert ledger.ops[-1] == "release"
