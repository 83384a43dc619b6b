"""Paid calls against the real database, with the process dying at every step: what was paid is known afterwards."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
from pydantic import BaseModel

from millrace.errors import Denied, Paused, Poison, Refusal, Retryable, Unavailable, UnknownOutcome
from millrace.ids import RequestId, WorkKey
from millrace.ledger.port import Granted
from millrace.models.port import Paid
from millrace.money import MicroUSD
from millrace.store.calls import CallState, CallStore
from millrace.store.database import Database, Record
from millrace.store.jobs import JobStore
from millrace.store.pool import open_pool
from millrace.store.work import Fence
from millrace.stream.calls import MAX_CALLS, Calls, LeaseLost, OpenGate, Payer
from millrace.testing.ledger import FakeLedger


class Answer(BaseModel):
    text: str


class Died(BaseException):
    """The process ends here, in a test."""


class Fuse:
    """Lets `steps` steps pass, then every step dies; None: none does."""

    def __init__(self, steps: int | None = None) -> None:
        self.left = steps

    def burn(self) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Died
            self.left -= 1


class DyingStore(CallStore):
    """The real store, whose process may die before or after any statement."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        super().__init__(Dying(database, fuse))


class Dying(Database):
    def __init__(self, database: Database, fuse: Fuse) -> None:
        super().__init__(database.pool)
        self._fuse = fuse

    async def execute(self, sql: str, *args: object) -> int:
        self._fuse.burn()
        changed = await super().execute(sql, *args)
        self._fuse.burn()
        return changed


class Provider:
    """Bills every call that reaches it."""

    def __init__(self, fuse: Fuse | None = None) -> None:
        self.billed, self.fuse = 0, fuse or Fuse()

    async def __call__(self) -> Paid[Answer]:
        self.fuse.burn()
        self.billed += 1
        self.fuse.burn()
        return Paid(Answer(text="hello"), MicroUSD(70))


@pytest.fixture(scope="module")
async def database(migrated: str) -> AsyncIterator[Database]:
    async with open_pool(migrated) as pool:
        yield Database(pool)


def payer() -> Payer:
    return Payer("acme", "test", "share", WorkKey(f"test:{uuid.uuid4()}"), timedelta(minutes=5))


async def lease(database: Database, who: Payer) -> Fence:
    """Take the work over from whoever has it."""
    row = await database.fetchrow(
        """
        INSERT INTO work (work_key, stage, fence) VALUES ($1, 'test', 1)
        ON CONFLICT (work_key) DO UPDATE SET fence = work.fence + 1 RETURNING fence
        """,
        who.work_key,
    )
    assert row is not None
    return Fence(row["fence"])


async def owner(database: Database, books: FakeLedger, who: Payer) -> Calls:
    return Calls(CallStore(database), books, who, await lease(database, who))


async def ask(calls: Calls, do: Callable[[], Awaitable[Paid[Answer]]], hold: int = 100) -> Answer:
    answer = await calls.call(0, Answer, model="m", hold=MicroUSD(hold), do=do)
    await calls.recover()
    return answer


async def states(database: Database, who: Payer) -> list[str]:
    return [row.state for row in await CallStore(database).of_work(who.work_key)]


async def test_an_answer_is_kept_and_never_paid_again(database: Database) -> None:
    who, books, provider = payer(), FakeLedger(), Provider()
    for _ in range(3):
        calls = await owner(database, books, who)
        await calls.recover()
        assert (await ask(calls, provider)).text == "hello"
    assert provider.billed == 1
    assert list(books.ended.values()) == ["settled 70"]
    assert await states(database, who) == ["settled"]


@pytest.mark.parametrize("steps", range(16))
async def test_whenever_the_process_dies_all_that_was_billed_is_in_the_books(database: Database, steps: int) -> None:
    who, books, provider, fuse = payer(), FakeLedger(), Provider(), Fuse(steps)
    books.step, provider.fuse = fuse.burn, fuse
    died = False
    try:
        await ask(Calls(DyingStore(database, fuse), books, who, await lease(database, who)), provider)
    except Died:
        died = True
    fuse.left = None
    billed_before = provider.billed
    again = await owner(database, books, who)
    await again.recover()
    assert (await ask(again, provider)).text == "hello"

    ends = Counter(books.ended.values())
    assert set(books.holds) <= set(books.ended), "a hold was left open"
    assert ends["settled 70"] == 1
    # What was billed without an answer that could be kept stays charged as unknown: never less than the invoice.
    assert provider.billed <= ends["settled 70"] + ends["unknown"]
    assert provider.billed <= 2
    if not died:
        assert (billed_before, provider.billed) == (1, 1)


async def test_the_steps_above_cover_the_whole_call(database: Database) -> None:
    fuse = Fuse(16)
    books = FakeLedger(step=fuse.burn)
    who = payer()
    await ask(Calls(DyingStore(database, fuse), books, who, await lease(database, who)), Provider(fuse))
    assert fuse.left is not None


async def test_a_refusal_calls_nothing_and_the_next_try_asks_anew(database: Database) -> None:
    who, books, provider = payer(), FakeLedger(cap=50), Provider()
    with pytest.raises(
        Denied, match=r"needs up to \$0.0001, but \$0.00005 of the \$0.00005 cap hour:test is left; never"
    ):
        await ask(await owner(database, books, who), provider)
    assert provider.billed == 0
    books.cap = 1000
    await ask(await owner(database, books, who), provider)
    assert await states(database, who) == ["denied", "settled"]


async def test_without_an_answer_from_the_ledger_nothing_is_called(database: Database) -> None:
    who, books, provider = payer(), FakeLedger(), Provider()
    books.answer = Unavailable("the cost ledger does not answer")
    with pytest.raises(Unavailable):
        await ask(await owner(database, books, who), provider)
    assert provider.billed == 0
    assert await states(database, who) == ["abandoned"]


@pytest.mark.parametrize(
    ("error", "raised", "state", "told"),
    [
        (Retryable("busy"), Retryable, "released", "released"),
        (Poison("bad request"), Poison, "released", "released"),
        (UnknownOutcome("time-out"), UnknownOutcome, "unconfirmed", "unknown"),
        (ValueError("a surprise"), UnknownOutcome, "unconfirmed", "unknown"),
    ],
)
async def test_the_error_of_a_call_decides_what_is_charged(
    database: Database, error: Exception, raised: type[Exception], state: str, told: str
) -> None:
    async def fails() -> Paid[Answer]:
        raise error

    who, books = payer(), FakeLedger()
    with pytest.raises(raised):
        await ask(await owner(database, books, who), fails)
    assert await states(database, who) == [state]
    assert list(books.ended.values()) == [told]


async def test_calls_of_unknown_outcome_are_bounded_over_all_restarts(database: Database) -> None:
    async def fails() -> Paid[Answer]:
        raise UnknownOutcome("time-out")

    who, books = payer(), FakeLedger()
    for _ in range(MAX_CALLS):
        with pytest.raises(UnknownOutcome):
            await ask(await owner(database, books, who), fails)
    with pytest.raises(Poison, match="3 times"):
        await ask(await owner(database, books, who), fails)
    assert len(books.holds) == MAX_CALLS


async def test_all_calls_that_reach_the_provider_use_up_one_budget(database: Database) -> None:
    """The process dies in one, one is not answered, one is refused: each reaches the provider."""
    called = 0

    async def fails(error: BaseException) -> Paid[Answer]:
        nonlocal called
        called += 1
        raise error

    who, books = payer(), FakeLedger()
    for error in (Died(), UnknownOutcome("time-out"), Retryable("HTTP 500")):
        with pytest.raises(type(error)):
            await ask(await owner(database, books, who), partial(fails, error))
        await (await owner(database, books, who)).recover()
    with pytest.raises(Poison, match="called 3 times without an answer that could be kept; at last: HTTP 500"):
        await ask(await owner(database, books, who), partial(fails, Retryable("HTTP 500")))
    assert called == MAX_CALLS
    assert list(books.ended.values()) == ["unknown", "unknown", "released"]


async def test_calls_that_fail_for_everybody_are_not_held_against_the_work(database: Database) -> None:
    class Down(OpenGate):
        def failed(self, model: str, reason: str, retry_after_s: float | None) -> Paused | None:
            return Paused(reason, "model:m", timedelta(seconds=1))

    async def fails() -> Paid[Answer]:
        raise Retryable("HTTP 503")

    who, books = payer(), FakeLedger()
    for _ in range(MAX_CALLS + 1):
        calls = Calls(CallStore(database), books, who, await lease(database, who), gate=Down())
        with pytest.raises(Paused):
            await ask(calls, fails)
    assert (await ask(await owner(database, books, who), Provider())).text == "hello"


async def test_a_new_round_has_a_budget_of_its_own_once_and_keeps_what_was_paid(database: Database) -> None:
    called = 0

    async def fails() -> Paid[Answer]:
        nonlocal called
        called += 1
        raise UnknownOutcome("time-out")

    who, books, jobs, provider = payer(), FakeLedger(), JobStore(database), Provider()
    await (await owner(database, books, who)).call(7, Answer, model="m", hold=MicroUSD(100), do=provider)
    for round_ in ("redrive:one", "redrive:one", "redrive:two", "redrive:one", "redrive:two"):
        await jobs.begin_anew("share", "embed", who.work_key, round_)
        for _ in range(MAX_CALLS):
            with pytest.raises((UnknownOutcome, Poison)):
                await ask(await owner(database, books, who), fails)
    assert called == 2 * MAX_CALLS
    again = await owner(database, books, who)
    assert (await again.call(7, Answer, model="m", hold=MicroUSD(100), do=provider)).text == "hello"
    assert provider.billed == 1


async def test_a_paused_owner_neither_calls_nor_loses_an_answer_after_takeover(database: Database) -> None:
    who, books, provider = payer(), FakeLedger(), Provider()
    store = CallStore(database)

    class PausedLedger(FakeLedger):
        async def reserve(self, request_id: RequestId, **asked: object) -> Granted:
            await Calls(store, books, who).recover()  # a new owner takes over while this one waits for its grant
            return Granted(request_id, "acme", "test", MicroUSD(100), ends=self, telling=self.telling)

    with pytest.raises(LeaseLost):
        await ask(Calls(store, PausedLedger(), who, await lease(database, who)), provider)
    assert provider.billed == 0

    async def slow() -> Paid[Answer]:
        await Calls(store, books, who).recover()  # a new owner takes over during the call
        return await provider()

    await ask(await owner(database, books, who), slow)
    assert (await states(database, who))[-1] == "settled"
    assert list(books.ended.values())[-1] == "settled 70", "a late answer settles what was unconfirmed"


async def test_late_word_that_nothing_was_paid_releases_what_was_unconfirmed(database: Database) -> None:
    who, books = payer(), FakeLedger()

    async def refused() -> Paid[Answer]:
        await Calls(CallStore(database), books, who).recover()  # a new owner takes over during the call
        assert await states(database, who) == ["unconfirmed"]
        raise Retryable("no connection")

    with pytest.raises(Retryable):
        await ask(await owner(database, books, who), refused)
    assert await states(database, who) == ["released"]
    assert list(books.ended.values()) == ["released"]


async def test_a_former_owner_cannot_end_the_hold_of_its_successor(database: Database) -> None:
    who, books, provider = payer(), FakeLedger(), Provider()
    former = await owner(database, books, who)
    successor = await owner(database, books, who)

    async def slow() -> Paid[Answer]:
        with pytest.raises(LeaseLost):
            await ask(former, provider)  # it was paused before it had begun, and goes on during the other's call
        assert books.ended == {}
        return await provider()

    await ask(successor, slow)
    assert provider.billed == 1
    assert list(books.ended.values()) == ["settled 70"]


async def test_a_lost_reply_from_the_database_does_not_lose_the_call(database: Database) -> None:
    """The database has done each statement, but says so only at the second try."""
    who, books, provider = payer(), FakeLedger(), Provider()

    class Deaf(Database):
        async def execute(self, sql: str, *args: object) -> int:
            await super().execute(sql, *args)
            return await super().execute(sql, *args)

        async def many(self, sql: str, of: Sequence[tuple[object, ...]]) -> Sequence[Record]:
            await super().many(sql, of)
            return await super().many(sql, of)

    calls = Calls(CallStore(Deaf(database.pool)), books, who, await lease(database, who))
    assert (await ask(calls, provider)).text == "hello"
    assert list(books.ended.values()) == ["settled 70"]
    assert await states(database, who) == ["settled"]


async def test_a_paid_answer_is_kept_although_the_job_is_cancelled_meanwhile(database: Database) -> None:
    who, books, called = payer(), FakeLedger(), asyncio.Event()

    class Slow(Database):
        async def many(self, sql: str, of: Sequence[tuple[object, ...]]) -> Sequence[Record]:
            if "= 'answered'" in sql:
                called.set()
                await asyncio.sleep(0.1)
            return await super().many(sql, of)

    calls = Calls(CallStore(Slow(database.pool)), books, who, await lease(database, who))
    job = asyncio.create_task(ask(calls, Provider()))
    await called.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await calls.recover()
    assert await states(database, who) == ["settled"]


@pytest.mark.parametrize(("local", "ended"), [(True, "released"), (False, "unconfirmed")])
async def test_a_call_of_a_model_of_our_own_that_is_cut_off_costs_nothing(
    database: Database, local: bool, ended: str
) -> None:
    who, books, called = payer(), FakeLedger(), asyncio.Event()

    async def without_end() -> Paid[Answer]:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError

    calls = await owner(database, books, who)
    job = asyncio.create_task(calls.call(0, Answer, model="m", hold=MicroUSD(100), do=without_end, local=local))
    await called.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await calls.recover()
    assert await states(database, who) == [ended]
    assert [how.split()[0] for how in books.ended.values()] == [{"unconfirmed": "unknown"}.get(ended, ended)]


async def test_an_answer_with_characters_that_no_database_takes_is_paid_once(database: Database) -> None:
    who, books = payer(), FakeLedger()

    async def odd() -> Paid[Answer]:
        return Paid(Answer(text="a NUL \0 in it"), MicroUSD(70))

    await ask(await owner(database, books, who), odd)
    assert (await ask(await owner(database, books, who), odd)).text == "a NUL \ufffd in it"
    assert len(books.holds) == 1


async def test_a_grant_above_a_cap_that_only_warns_says_so_in_the_receipt(database: Database) -> None:
    warning = "above the cap hour:test, which only warns"
    who, books = payer(), FakeLedger(warning=warning)

    async def fails() -> Paid[Answer]:
        raise Retryable("too many requests")

    with pytest.raises(Retryable):
        await ask(await owner(database, books, who), fails)
    await ask(await owner(database, books, who), Provider())

    rows = await database.fetch("SELECT state, reason FROM calls WHERE work_key = $1 ORDER BY attempt", who.work_key)
    assert [tuple(row.values()) for row in rows] == [
        ("released", f"{warning}; too many requests"),
        ("settled", warning),
    ]


async def test_an_owner_that_stood_still_is_not_refused_by_what_its_successor_closed(database: Database) -> None:
    """Its own request was given up by the successor: that there is no money left would be no answer to it."""
    who, provider = payer(), Provider()
    successor: list[Calls] = []

    class Overtaken(FakeLedger):
        async def reserve(self, request_id: RequestId, **asked: object) -> Granted | Refusal:
            if not successor:
                successor.append(await owner(database, books, who))
                await successor[0].recover()
            return Refusal("released", MicroUSD(0), MicroUSD(0), MicroUSD(0), None)

    books = Overtaken()
    with pytest.raises(LeaseLost):
        await ask(await owner(database, books, who), provider)
    assert provider.billed == 0
    assert await states(database, who) == ["abandoned"]


async def test_what_another_recoverer_moved_and_did_not_tell_is_told(database: Database) -> None:
    who, books, provider = payer(), FakeLedger(), Provider(Fuse(0))

    class Beaten(CallStore):
        async def move(
            self,
            request: RequestId,
            before: CallState,
            after: CallState,
            reason: str | None = None,
            *,
            counted: bool = True,
        ) -> bool:
            await super().move(request, before, after, reason, counted=counted)
            return False  # as for whoever comes second, or whose first reply was lost

    with pytest.raises(Died):
        await ask(await owner(database, books, who), provider)
    await lease(database, who)
    await Calls(Beaten(database), books, who).recover()
    assert await states(database, who) == ["unconfirmed"]
    assert list(books.ended.values()) == ["unknown"]


async def test_a_gate_that_is_opened_does_not_make_a_call_of_what_was_not_called(database: Database) -> None:
    class Slow(OpenGate):
        async def granted(self) -> None:
            raise asyncio.CancelledError

    who, books, provider = payer(), FakeLedger(), Provider()
    calls = Calls(CallStore(database), books, who, await lease(database, who), gate=Slow())
    with pytest.raises(asyncio.CancelledError):
        await calls.call(0, Answer, model="m", hold=MicroUSD(100), do=provider)
    assert await states(database, who) == ["reserving"]
    await (await owner(database, books, who)).recover()
    assert (await states(database, who), list(books.ended.values())) == (["abandoned"], ["released"])


async def test_whatever_an_error_says_the_call_ends_as_its_type_says(database: Database) -> None:
    async def fails() -> Paid[Answer]:
        raise Poison("the server said \0 and \ud800")

    who, books = payer(), FakeLedger()
    with pytest.raises(Poison):
        await ask(await owner(database, books, who), fails)
    assert (await states(database, who), list(books.ended.values())) == (["released"], ["released"])


async def test_an_answer_of_another_version_is_said_to_be_one_and_is_not_quoted(database: Database) -> None:
    class Other(BaseModel):
        number: int

    who, books = payer(), FakeLedger()
    await ask(await owner(database, books, who), Provider())
    calls = await owner(database, books, who)
    with pytest.raises(Poison, match="--force") as caught:
        await calls.call(0, Other, model="m", hold=MicroUSD(100), do=cast(Any, Provider()))
    assert caught.value.__cause__ is None
    assert "hello" not in str(caught.value)
