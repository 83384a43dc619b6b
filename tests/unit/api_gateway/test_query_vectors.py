from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from decimal import Decimal

import pytest

from millrace.errors import Refusal, Retryable
from millrace.ids import RequestId
from millrace.models.port import Backend, Embedded, Tariff, Use
from millrace.models.tariffs import PerToken
from millrace.money import MicroUSD
from millrace.testing.ledger import FakeLedger
from services.api_gateway.query_vectors import NoVector, QueryVectors


class Model:
    backend: Backend = "api"
    dimensions = 2
    batch_size = 1
    text_tokens = batch_tokens = 1000
    tariff: Tariff = PerToken(Decimal(10))

    def __init__(self, name: str = "tiny") -> None:
        self.name = name
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.called = asyncio.Event()

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def embed(self, texts: Sequence[str]) -> Embedded:
        self.asked += texts
        self.called.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return Embedded([[float(len(text)), 1.0] for text in texts], Use(tokens_in=1))


class Bench:
    def __init__(self, most: int = 10) -> None:
        self.model, self.ledger = Model(), FakeLedger()
        numbers = itertools.count()
        self.vectors = QueryVectors(self.ledger, lambda: RequestId(f"search-{next(numbers)}"), most=most)

    async def numbers(self, query: str, account: str = "default") -> list[float]:
        return list((await self.vectors.of(self.model, query, account)).numbers)


async def test_a_query_that_is_asked_again_costs_nothing() -> None:
    bench = Bench()
    assert await bench.numbers("mill") == await bench.numbers("mill") == [4.0, 1.0]
    assert await bench.numbers("wheel") == [5.0, 1.0]
    assert bench.model.asked == ["mill", "wheel"]
    assert [op for op, _ in bench.ledger.told] == ["reserve", "settle"] * 2


async def test_it_is_kept_when_there_is_no_money_left() -> None:
    bench = Bench()
    await bench.numbers("mill")
    bench.ledger.answer = Refusal("day:search", MicroUSD(1), MicroUSD(0), MicroUSD(0), None)
    assert await bench.numbers("mill") == [4.0, 1.0]
    with pytest.raises(NoVector, match="left of this day's"):
        await bench.numbers("wheel")


async def test_nobody_rides_on_another_accounts_money() -> None:
    bench = Bench()
    await bench.numbers("mill", "one")
    await bench.numbers("mill", "two")
    assert [asked.account for asked in bench.ledger.asked] == ["one", "two"]


async def test_each_model_makes_its_own() -> None:
    bench = Bench()
    await bench.numbers("mill")
    other = Model("other")
    await bench.vectors.of(other, "mill", "default")
    assert (bench.model.asked, other.asked) == (["mill"], ["mill"])


async def test_those_who_ask_at_the_same_time_buy_once() -> None:
    bench = Bench()
    bench.model.go.clear()
    asking = [asyncio.create_task(bench.numbers("mill")) for _ in range(5)]
    await bench.model.called.wait()
    bench.model.go.set()
    assert await asyncio.gather(*asking) == [[4.0, 1.0]] * 5
    assert bench.model.asked == ["mill"]


async def test_who_goes_away_takes_the_purchase_from_nobody() -> None:
    bench = Bench()
    bench.model.go.clear()
    first, second = (asyncio.create_task(bench.numbers("mill")) for _ in range(2))
    await bench.model.called.wait()
    first.cancel()
    bench.model.go.set()
    assert await second == [4.0, 1.0]
    assert [op for op, _ in bench.ledger.told] == ["reserve", "settle"]
    assert first.cancelled()


async def test_a_failure_is_not_kept() -> None:
    bench = Bench()
    bench.model.error = Retryable("no answer")
    with pytest.raises(NoVector, match="no answer"):
        await bench.numbers("mill")
    bench.model.error = None
    assert await bench.numbers("mill") == [4.0, 1.0]


async def test_what_was_asked_for_longest_ago_makes_room() -> None:
    bench = Bench(most=2)
    for query in ("a", "b", "a", "c"):
        await bench.numbers(query)
    await bench.numbers("a")
    assert bench.model.asked == ["a", "b", "c"]
    await bench.numbers("b")
    assert bench.model.asked == ["a", "b", "c", "b"]
