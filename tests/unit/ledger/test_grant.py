"""However a call ends, the ledger hears of it, and the caller's own exception is what the caller sees."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest

from millrace.errors import Denied, Poison, Refusal, Retryable, Skipped, Unavailable, UnknownOutcome
from millrace.ids import RequestId
from millrace.ledger.grant import Granted
from millrace.ledger.telling import Telling
from millrace.money import ZERO, MicroUSD
from millrace.testing.ledger import FakeLedger

REQUEST = RequestId("call-1")
REFUSAL = Refusal("hour:test", MicroUSD(1), ZERO, ZERO, None)


async def granted(ledger: FakeLedger) -> Granted:
    answer = await ledger.reserve(
        REQUEST, account="acme", scope="test", amount=MicroUSD(100), hold_for=timedelta(minutes=5)
    )
    assert isinstance(answer, Granted)
    return answer


class SlowLedger(FakeLedger):
    """Kafka takes a message only once `kafka` is set; `told_something` as soon as there is one to take."""

    def __init__(self) -> None:
        super().__init__()
        self.kafka, self.told_something = asyncio.Event(), asyncio.Event()

    async def settle(
        self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD, linger: bool = False
    ) -> None:
        await self._wait()
        await super().settle(request_id, account=account, scope=scope, actual=actual)

    async def unknown(self, request_id: RequestId, *, account: str, scope: str) -> None:
        await self._wait()
        await super().unknown(request_id, account=account, scope=scope)

    async def _wait(self) -> None:
        self.told_something.set()
        await self.kafka.wait()


class BrokenLedger(FakeLedger):
    """Whatever it is told is lost."""

    async def settle(
        self, request_id: RequestId, *, account: str, scope: str, actual: MicroUSD, linger: bool = False
    ) -> None:
        raise Unavailable("the producer is closed")

    async def unknown(self, request_id: RequestId, *, account: str, scope: str) -> None:
        raise Unavailable("the producer is closed")


async def test_a_call_that_says_its_cost_is_settled_with_it() -> None:
    ledger = FakeLedger()
    async with await granted(ledger) as hold:
        hold.settle(MicroUSD(70))
        assert ledger.ended == {}, "the call is not over"
    assert ledger.ended == {REQUEST: "settled 70"}


@pytest.mark.parametrize(
    "error", [Retryable("too many requests"), Poison("not a text"), ValueError("bug"), KeyError()]
)
async def test_what_was_paid_is_settled_whatever_happens_afterwards(error: Exception) -> None:
    ledger = FakeLedger()

    async def paid_then_broken() -> None:
        async with await granted(ledger) as hold:
            hold.settle(MicroUSD(70))
            raise error

    with pytest.raises(type(error)):
        await paid_then_broken()
    assert ledger.ended == {REQUEST: "settled 70"}


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (Retryable("too many requests"), "released"),
        (Poison("not a text"), "released"),
        (UnknownOutcome("cut off"), "unknown"),
        (Unavailable("down"), "unknown"),
        (Skipped("nothing to do"), "unknown"),
        (Denied(REFUSAL, "no"), "unknown"),
        (TimeoutError(), "unknown"),
        (ZeroDivisionError(), "unknown"),
        (ExceptionGroup("several", [Retryable("too many requests")]), "unknown"),
        (asyncio.CancelledError(), "unknown"),
        (SystemExit(), "unknown"),
    ],
)
async def test_only_an_error_that_says_nothing_was_paid_gives_the_money_back(error: BaseException, end: str) -> None:
    ledger = FakeLedger()
    with pytest.raises(type(error)) as caught:
        async with await granted(ledger):
            raise error
    assert caught.value is error
    assert ledger.ended == {REQUEST: end}


async def test_a_call_that_does_not_say_its_cost_is_not_free() -> None:
    ledger = FakeLedger()
    async with await granted(ledger):
        pass
    assert ledger.ended == {REQUEST: "unknown"}


async def test_a_negative_cost_is_an_error_and_not_free() -> None:
    ledger = FakeLedger()
    with pytest.raises(ValueError, match="at least 0"):
        async with await granted(ledger) as hold:
            hold.settle(MicroUSD(-1))
    assert ledger.ended == {REQUEST: "unknown"}


async def test_one_hold_pays_for_one_call() -> None:
    ledger = FakeLedger()
    grant = await granted(ledger)
    async with grant as hold:
        hold.settle(MicroUSD(70))
    with pytest.raises(RuntimeError, match="used already"):
        async with grant:
            pass
    assert ledger.told == [("reserve", 100), ("settle", 70)]


@pytest.mark.parametrize("cost", [None, 70])
async def test_cancelled_again_and_again_the_ledger_is_still_told(cost: int | None) -> None:
    ledger, calling = SlowLedger(), asyncio.Event()

    async def call() -> None:
        async with await granted(ledger) as hold:
            if cost is not None:
                hold.settle(MicroUSD(cost))
            calling.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await calling.wait()
    task.cancel()
    await ledger.told_something.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ledger.ended == {}, "Kafka is away"

    ledger.kafka.set()
    await ledger.telling.close()
    assert ledger.ended == {REQUEST: "unknown" if cost is None else "settled 70"}


async def test_a_call_does_not_wait_for_kafka_for_long() -> None:
    ledger = SlowLedger()
    ledger.telling = Telling(wait_s=0.01)
    async with asyncio.timeout(10):
        async with await granted(ledger) as hold:
            hold.settle(MicroUSD(70))
    assert ledger.ended == {}
    ledger.kafka.set()
    await ledger.telling.close()
    assert ledger.ended == {REQUEST: "settled 70"}


async def test_a_message_that_is_lost_is_logged_and_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        async with await granted(BrokenLedger()):
            raise ZeroDivisionError
    async with await granted(BrokenLedger()) as hold:
        hold.settle(MicroUSD(70))  # the answer is there, and its caller gets it
    lost = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lost) == 2
    assert all(REQUEST in line and "the producer is closed" in line and "unconfirmed" in line for line in lost)


async def test_what_kafka_has_not_taken_when_the_process_ends_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ledger = SlowLedger()
    ledger.telling.begin(ledger.unknown(REQUEST, account="acme", scope="test"), "call-1: not told")
    await ledger.told_something.wait()
    await ledger.telling.close(within_s=0.01)
    assert [record.getMessage() for record in caplog.records] == [
        "call-1: not told (ended before Kafka had the message)"
    ]
