"""Spends money of a real ledger in every way that there is, over several hours of its log, and keeps a book of it."""

from __future__ import annotations

import asyncio
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from confluent_kafka import Producer

from millrace.contracts.events import CostDecision
from millrace.contracts.partitions import partition_for
from millrace.embedded.readyfile import Addresses
from millrace.errors import Refusal
from millrace.ledger.client import LedgerClient
from millrace.ledger.topics import DECISIONS
from millrace.money import MicroUSD
from tests.integration.ledger import PARTITIONS, TestLedger, ledger
from tests.support.database import own_database
from tests.support.ledger_asking import new_id
from tests.support.waiting import eventually

HOUR_MS: Final = 3_600_000
ACCOUNTS: Final = ("research", "press", "archive", "poor")
SCOPES: Final = ("transcribe", "summarize", "embed")
BUDGETS: Final = """
[default.transcribe]
hour = "1000.00"

[accounts.poor.transcribe]
hour = "0.05"
"""
HOLD: Final = timedelta(minutes=20)
_AT_ONCE: Final = 24
_FATES: Final = {"settled": 50, "overrun": 10, "released": 15, "unknown": 8, "reconciled": 7, "open": 5, "late": 5}


@dataclass
class Book:
    """What callers know without the ledger's log: what they have paid, in micro-US-dollars, and how calls ended."""

    settled: Counter[tuple[str, str]] = field(default_factory=Counter)
    denied: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    aborted: int = 0
    kills: int = 0

    @property
    def ended(self) -> int:
        """Calls of which everything is known."""
        return self.denied + self.fates.total()


@asynccontextmanager
async def own_ledger(stack: Addresses, folder: Path) -> AsyncIterator[TestLedger]:
    """A ledger without workers, with topics and a database of its own."""
    name = f"t{uuid.uuid4().hex[:10]}"
    async with own_database(stack.postgres, name) as url, ledger(stack, name, url, folder, BUDGETS) as made:
        yield made


async def spend(made: TestLedger, *, hours: int, calls: int, seed: int) -> Book:
    """Spend in so many hours of the log, one after another; kill the worker in the middle of each but the last."""
    book = Book()
    chance = random.Random(seed)  # noqa: S311  # a schedule, no secret
    shift_ms = _to_the_next_hour_ms()
    async with made.client(answer_within_s=120.0) as client:
        for hour in range(hours):
            worker = made.start(later_ms=shift_ms + hour * HOUR_MS)
            await worker.ready()
            asking = asyncio.create_task(_hour(client, book, chance, calls))
            if hour < hours - 1:
                most = calls * (hour + 0.8)
                await eventually(lambda: book.ended >= most or asking.done(), "most calls", 120, every_s=0.01)  # noqa: B023
                worker.signal(signal.SIGKILL)
                await worker.ended()
                book.kills += 1
                worker = made.start(later_ms=shift_ms + hour * HOUR_MS)
                await worker.ready()
            await asking
            book.aborted += await asyncio.to_thread(_abort, made, shift_ms + hour * HOUR_MS)
            if hour < hours - 1:
                worker.signal(signal.SIGTERM)
                await worker.ended()
    return book


def _to_the_next_hour_ms() -> int:
    """So much later it is five minutes past the next hour: no hour of the log ends while its calls are made."""
    now = int(time.time() * 1000)
    return HOUR_MS - now % HOUR_MS + 5 * 60_000


async def _hour(client: LedgerClient, book: Book, chance: random.Random, calls: int) -> None:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one() -> None:
        async with room:
            await _call(client, book, chance)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(calls):
            tasks.create_task(one())


async def _call(client: LedgerClient, book: Book, chance: random.Random) -> None:
    account, scope = chance.choice(ACCOUNTS), chance.choice(SCOPES)
    amount = chance.randint(1, 20_000)
    fate = chance.choices(list(_FATES), list(_FATES.values()))[0]
    actual = MicroUSD(chance.randint(0, amount) + (amount if fate == "overrun" else 0))
    request = new_id()
    answer = await client.reserve(request, account=account, scope=scope, amount=MicroUSD(amount), hold_for=HOLD)
    if isinstance(answer, Refusal):
        book.denied += 1
        return
    key = (account, scope)
    if fate in {"settled", "overrun"}:
        await client.settle(request, account=account, scope=scope, actual=actual)
    elif fate == "released":
        await client.release(request, account=account, scope=scope)
    elif fate in {"unknown", "reconciled"}:
        await client.unknown(request, account=account, scope=scope)
        if fate == "reconciled":
            await client.reconcile(request, account=account, scope=scope, actual=actual)
    elif fate == "late":  # the invoice came after the caller had given the hold back
        await client.release(request, account=account, scope=scope)
        await client.settle(request, account=account, scope=scope, actual=actual)
    if fate in {"settled", "overrun", "reconciled", "late"}:
        book.settled[key] += actual
    book.fates[fate] += 1


def _abort(made: TestLedger, shift_ms: int) -> int:
    """Write decisions that never were: of a transaction that is aborted once they are on the topic; how many."""
    producer = Producer(
        {"bootstrap.servers": made.stack.kafka, "transactional.id": f"{made.prefix}aborts", "log_level": 0}
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    at = datetime.fromtimestamp((int(time.time() * 1000) + shift_ms) / 1000, UTC)
    hour = at.replace(minute=0, second=0, microsecond=0)
    count = 0
    for account in ACCOUNTS:
        for scope in SCOPES:
            decision = CostDecision(
                request_id=str(new_id()),
                op="settle",
                outcome="settled",
                account=account,
                scope=scope,
                amount_micro_usd=MicroUSD(1_000_000),
                actual_micro_usd=MicroUSD(1_000_000),
                previous="held",
                hour_start=hour,
                day_start=hour.replace(hour=0),
                request_offset=0,
                decided_at=at,
            )
            producer.produce(
                made.topics.decisions,
                made.codec.encode(DECISIONS, decision),
                account.encode(),
                partition_for(account, PARTITIONS),
            )
            count += 1
    producer.flush(30)
    producer.abort_transaction(30)
    return count
