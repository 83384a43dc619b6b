"""The ledger's client on the real broker: what a call's end comes to in the ledger."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from millrace.contracts.events import CostDecision
from millrace.embedded.readyfile import Addresses
from millrace.errors import Poison, Retryable
from millrace.ids import RequestId
from millrace.kafka.producer import open_producer
from millrace.ledger.client import LedgerClient, open_ledger
from millrace.ledger.grant import Granted
from millrace.money import MicroUSD
from tests.integration.ledger import TestLedger, running_ledger

SCOPE = "transcribe"
BUDGETS = """
[default.transcribe]
hour = "1.00"

[accounts.warned.transcribe]
day = "0.0001"
mode = "warn"
"""


@pytest.fixture(scope="module")
async def running(stack: Addresses, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestLedger]:
    """A ledger with a worker, for tests that use accounts of their own."""
    async with running_ledger(stack, tmp_path_factory.mktemp("ledger"), BUDGETS) as made:
        yield made


async def reserve(client: LedgerClient, account: str, amount: int = 100, request_id: str | None = None) -> Granted:
    answer = await client.reserve(
        RequestId(request_id or str(uuid.uuid4())),
        account=account,
        scope=SCOPE,
        amount=MicroUSD(amount),
        hold_for=timedelta(minutes=5),
    )
    assert isinstance(answer, Granted)
    return answer


async def reconcile(client: LedgerClient, account: str, request_id: str, actual: int) -> CostDecision:
    """Also a last word: everything that the client said before about this account is decided by then."""
    return await client.reconcile(RequestId(request_id), account=account, scope=SCOPE, actual=MicroUSD(actual))


async def outcomes(made: TestLedger, request_id: str) -> list[tuple[str, int]]:
    return [(d.outcome, d.actual_micro_usd) for _, d in await made.decisions() if d.request_id == request_id]


async def test_every_way_out_of_a_call_is_decided_for_what_it_was(running: TestLedger) -> None:
    async with running.client() as client:
        settled, refused, silent = [await reserve(client, "ways") for _ in range(3)]
        async with settled as hold:
            hold.settle(MicroUSD(70))
        with pytest.raises(Retryable):
            async with refused:
                raise Retryable("too many requests")
        async with silent:
            pass
        await reconcile(client, "ways", "none", 0)

    assert await outcomes(running, settled.request_id) == [("granted", 0), ("settled", 70)]
    assert await outcomes(running, refused.request_id) == [("granted", 0), ("released", 0)]
    assert await outcomes(running, silent.request_id) == [("granted", 0), ("unconfirmed", 0)]


async def test_a_cancelled_call_is_unconfirmed_until_its_late_answer_settles_it(running: TestLedger) -> None:
    async with running.client() as client:
        granted, calling = await reserve(client, "cancelled"), asyncio.Event()

        async def call() -> None:
            async with granted:
                calling.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(call())
        await calling.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.settle(granted.request_id, account="cancelled", scope=SCOPE, actual=MicroUSD(60), confirm=True)

    assert await outcomes(running, granted.request_id) == [("granted", 0), ("unconfirmed", 0), ("settled", 60)]


async def test_a_call_that_ends_as_the_client_closes_is_still_told(running: TestLedger) -> None:
    async with running.client() as client:
        granted = await reserve(client, "closing")
        task = asyncio.create_task(granted.__aexit__(None, None, None))
        await asyncio.sleep(0)  # it has begun to tell
        task.cancel()
    async with running.client() as client:
        await reconcile(client, "closing", "none", 0)
    assert await outcomes(running, granted.request_id) == [("granted", 0), ("unconfirmed", 0)]


async def test_without_kafka_the_answer_is_kept_and_the_loss_is_logged(
    running: TestLedger, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        open_producer(running.stack.cluster) as producer,
        open_ledger(running.stack.cluster, running.codec, producer, source="test", topics=running.topics) as client,
        await reserve(client, "lost") as hold,
    ):
        hold.settle(MicroUSD(70))
        await producer.stop()
    said = [record.getMessage() for record in caplog.records if record.name == "millrace.ledger.telling"]
    assert len(said) == 1
    assert hold.request_id in said[0]
    assert "the producer is closed" in said[0]
    assert await outcomes(running, hold.request_id) == [("granted", 0)], "held, so that nothing is under-counted"


async def test_above_a_cap_that_only_warns_the_grant_says_so_to_every_repeat(
    running: TestLedger, caplog: pytest.LogCaptureFixture
) -> None:
    warning = f"above the cap day:{SCOPE}, which only warns"
    caplog.set_level(logging.WARNING, "millrace.ledger.client")
    async with running.client() as client:
        below = await reserve(client, "warned", 80)
        above = await reserve(client, "warned", 80)
        repeated = await reserve(client, "warned", 80, above.request_id)

    assert (below.warning, above.warning, repeated.warning) == (None, warning, warning)
    logged = [record.getMessage() for record in caplog.records if "only warns" in record.getMessage()]
    assert logged == [f"{above.request_id}: granted to warned for {SCOPE}, but {warning}"] * 2, "one for each answer"


async def test_reconciling_settles_what_is_unconfirmed_and_says_what_else_it_found(running: TestLedger) -> None:
    async with running.client() as client:
        dropped, held, paid = [await reserve(client, "reconciled") for _ in range(3)]
        async with dropped:
            pass
        async with paid as hold:
            hold.settle(MicroUSD(70))

        first = await reconcile(client, "reconciled", dropped.request_id, 130)
        again = await reconcile(client, "reconciled", dropped.request_id, 40)
        others = [
            await reconcile(client, "reconciled", one, 10) for one in (paid.request_id, held.request_id, "none")
        ]

    assert (first.outcome, first.previous) == ("reconciled", "unconfirmed")
    assert (first.actual_micro_usd, first.overrun_micro_usd) == (130, 30)
    assert (again.outcome, again.previous, again.actual_micro_usd) == ("reconciled", "settled", 130)
    assert [(one.outcome, one.previous, one.actual_micro_usd) for one in others] == [
        ("reconciled", "settled", 70),
        ("unchanged", "held", 0),
        ("unchanged", None, 0),
    ]


async def test_a_request_that_can_never_be_granted_is_not_asked_again(running: TestLedger, unique: str) -> None:
    async with running.client() as client, asyncio.timeout(10):
        with pytest.raises(Poison, match="a hold lives 1 to"):
            await client.reserve(
                RequestId(f"long-{unique}"),
                account=unique,
                scope=SCOPE,
                amount=MicroUSD(1),
                hold_for=timedelta(days=8),
            )
