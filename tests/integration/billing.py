"""A provider that bills every call it processes, and callers who pay it through the ledger.

    python -m tests.integration.billing   (a `Plan` as JSON in BILLING_PLAN)

The provider does not answer all that it bills. Invoices are exact: most calls cost fractions of a micro-dollar.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, get_args

import httpx
from aiohttp import web

from millrace.cluster import Cluster
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import CostDecision
from millrace.contracts.registry import Registry
from millrace.contracts.wire import Codec
from millrace.errors import Refusal, Retryable
from millrace.ids import RequestId
from millrace.kafka.producer import open_producer
from millrace.ledger.client import LedgerClient, open_ledger
from millrace.ledger.topics import REQUESTS, LedgerTopics
from millrace.money import cost_of, micro_usd
from tests.support.site import site

ACCOUNT, SCOPE = "billed", "transcribe"
PRICE = Decimal("0.0000013371")
"""Dollars a unit: no number of units below ten thousand comes to whole micro-dollars."""
MOST_UNITS = 900
HOLD = cost_of(MOST_UNITS, PRICE)
PATIENCE_S = 0.4
"""A caller waits so long for its answer."""

Fate = Literal["answered", "dropped", "slow", "busy"]
Fates = Callable[[str], tuple[Fate, int]]
"""What becomes of a call, and the units that it is billed for."""


def mixed(seed: int) -> Fates:
    """Of twenty calls about twelve are answered, three dropped after billing, two too slow, three not taken."""

    def decide(request_id: str) -> tuple[Fate, int]:
        chance = random.Random(f"{seed}:{request_id}")  # noqa: S311  # the same calls every time
        fate: Fate = chance.choices(get_args(Fate), weights=(12, 3, 2, 3))[0]
        return fate, chance.randint(1, MOST_UNITS)

    return decide


def dear(request_id: str) -> tuple[Fate, int]:
    """Every call is answered, and costs half as much again as it was to cost at most."""
    del request_id
    return "answered", MOST_UNITS * 3 // 2


@dataclass
class Provider:
    """`invoices` has dollars by request id, each written before its answer; `fates` what became of the call."""

    decide: Fates
    url: str = ""
    invoices: dict[str, Decimal] = field(default_factory=dict)
    fates: dict[str, Fate] = field(default_factory=dict)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call."""
        request_id = (await request.json())["id"]
        assert request_id not in self.fates, "a call was made twice under one grant"
        fate, units = self.decide(request_id)
        self.fates[request_id] = fate
        if fate == "busy":
            return web.json_response({}, status=429)
        self.invoices[request_id] = units * PRICE
        if fate == "slow":
            await self.over.wait()
        if fate == "dropped" and request.transport is not None:
            request.transport.close()
        return web.json_response({"units": units})


@asynccontextmanager
async def provider(decide: Fates) -> AsyncIterator[Provider]:
    """A provider that listens on loopback."""
    made = Provider(decide)
    async with site(made.handle, "/call") as port:
        made.url = f"http://127.0.0.1:{port}/call"
        try:
            yield made
        finally:
            made.over.set()


def units_of(answer: httpx.Response) -> int:
    """What an answer says that it is billed for.

    :raises Retryable: the provider was busy, nothing is billed.
    """
    if answer.status_code == 429:
        raise Retryable("the provider is busy")
    return int(answer.json()["units"])


async def pay(
    client: LedgerClient,
    http: httpx.AsyncClient,
    url: str,
    request_id: str,
    hold_s: float,
    *,
    patience_s: float = PATIENCE_S,
) -> bool:
    """One call, as an honest caller makes it; whether it was granted."""
    granted = await client.reserve(
        RequestId(request_id), account=ACCOUNT, scope=SCOPE, amount=HOLD, hold_for=timedelta(seconds=hold_s)
    )
    if isinstance(granted, Refusal):
        return False
    try:
        # What runs out is the caller's patience: the call inside is cancelled.
        async with asyncio.timeout(patience_s), granted as hold:
            answer = await http.post(url, json={"id": request_id})
            hold.settle(cost_of(units_of(answer), PRICE))
    except (Retryable, TimeoutError, httpx.TransportError):
        pass  # the ledger has been told; the answer itself is nobody's concern here
    return True


@dataclass(frozen=True)
class Line:
    """What a reservation counts for, in micro-US-dollars; `expired`: nobody said how its call ended."""

    state: str
    counted: int
    expired: bool = False


@dataclass
class Books:
    """Decisions added up in log order by somebody who only reads them; amounts in micro-US-dollars by day.

    The ledger's `settled` includes what is above the holds, so `used` is settled + held + unconfirmed.
    """

    lines: dict[str, Line] = field(default_factory=dict)
    used: dict[datetime, int] = field(default_factory=dict)
    peak: int = 0

    def add(self, decision: CostDecision) -> None:
        """The next decision of the account."""
        line = self.lines.get(decision.request_id)
        after = self._after(line, decision)
        if after is None or decision.day_start is None:
            return
        before = 0 if line is None else line.counted
        self.lines[decision.request_id] = after
        self.used[decision.day_start] = self.used.get(decision.day_start, 0) + after.counted - before
        self.peak = max(self.peak, self.used[decision.day_start])

    @staticmethod
    def _after(line: Line | None, decision: CostDecision) -> Line | None:
        match decision.outcome:
            case "granted" if line is None:
                return Line("held", decision.amount_micro_usd)
            case "unconfirmed" if line is not None and line.state == "held":
                return Line("unconfirmed", line.counted, decision.op == "expire")
            case "released" if line is not None and line.state in ("held", "unconfirmed"):
                return Line("released", 0)
            case "settled" | "reconciled" if line is not None and line.state != "settled":
                return Line("settled", decision.actual_micro_usd)
            case _:
                return None

    def check(self, invoices: dict[str, Decimal], cap: int) -> None:
        """No cap was ever exceeded, and everything on an invoice from before these decisions is counted."""
        assert self.peak <= cap
        for request_id, dollars in invoices.items():
            assert request_id in self.lines, f"{request_id} was billed without a durable grant"
            line = self.lines[request_id]
            assert micro_usd(dollars) <= line.counted, f"{request_id}: {dollars} was billed, {line} is counted"
        assert sum(invoices.values(), Decimal(0)) * 1_000_000 <= sum(self.used.values())


def books(decisions: Sequence[tuple[int, CostDecision]]) -> Books:
    """The account's books as the decisions leave them."""
    made = Books()
    for _, decision in decisions:
        if decision.account == ACCOUNT and decision.outcome != "day-opened":
            made.add(decision)
    return made


@dataclass(frozen=True)
class Plan:
    """What a process of callers is told."""

    kafka: str
    registry: str
    prefix: str
    url: str
    name: str
    callers: int
    calls: int
    hold_s: float

    def env(self) -> dict[str, str]:
        """For the process's environment."""
        return {"BILLING_PLAN": json.dumps(asdict(self))}


async def _call(plan: Plan) -> None:
    async def caller(number: int) -> None:
        for call in range(plan.calls):
            await pay(client, http, plan.url, f"{plan.name}-{number}-{call}", plan.hold_s)

    with Registry(plan.registry) as registry:
        codec = await Codec.connect(registry, Catalog.load(), (REQUESTS,))
        async with (
            httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=None) as http,  # noqa: S113  # pay() has one
            open_producer(Cluster(plan.kafka)) as producer,
            open_ledger(
                Cluster(plan.kafka),
                codec,
                producer,
                source=plan.name,
                topics=LedgerTopics(plan.prefix),
                answer_within_s=60,
                ask_again_s=1,
            ) as client,
            asyncio.TaskGroup() as tasks,
        ):
            for number in range(plan.callers):
                tasks.create_task(caller(number))


if __name__ == "__main__":
    asyncio.run(_call(Plan(**json.loads(os.environ["BILLING_PLAN"]))))
