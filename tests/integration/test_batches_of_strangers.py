"""Texts of different shares and accounts in one call: none suffers or pays for another's, and who waits is woken."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from millrace.errors import Retryable, Unavailable, UnknownOutcome
from millrace.ids import WorkKey
from millrace.kafka.records import Message, Partition
from millrace.store.database import Connection, Database
from millrace.stream.incoming import GATE_HEADER, PLACE_HEADER
from millrace.stream.runner import JobRunner
from millrace.testing.registry import codec_in_memory
from services.api_gateway import projections
from services.embed_agent.adapters import pending
from services.embed_agent.domain import Chunk, EmbedResult
from services.embed_agent.handler import Text
from services.embed_agent.ports import Together, Want
from services.embed_agent.together import AT_ONCE, OffPeak, Patience
from tests.integration.test_batches import Dying, finish, forced, shares, words
from tests.support.dying import Died, dies_after
from tests.support.embed_bench import EmbedBench

T = TypeVar("T")


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> EmbedBench:
    return EmbedBench(database, await codec_in_memory(), tmp_path)


@pytest.fixture
async def other(bench: EmbedBench, tmp_path: Path) -> EmbedBench:
    """Another account with the same model."""
    made = EmbedBench(bench.database, bench.codec, tmp_path)
    made.model = bench.model
    return made


async def a_round(bench: EmbedBench, agent: JobRunner[Text, EmbedResult]) -> None:
    """All that waits for its time, and one of those behind the model's gate, as the mover does it."""
    await bench.database.execute("UPDATE pending_texts SET due = now() WHERE account = $1", bench.account)
    await bench.database.execute("UPDATE gates SET until = now() WHERE name = $1", f"model:{bench.model.name}")
    rows = await bench.rows(
        "SELECT * FROM waiting WHERE account = $1 ORDER BY gate NULLS FIRST, due, place", bench.account
    )
    gated = [row for row in rows if row["gate"]]
    for row in [*(row for row in rows if not row["gate"]), *gated[:1]]:
        await bench.database.execute("DELETE FROM waiting WHERE seq = $1", row["seq"])
        headers = {name: text.encode() for name, text in row["headers"].items()}
        if row["gate"]:
            headers |= {GATE_HEADER: row["gate"].encode(), PLACE_HEADER: str(row["place"]).encode()}
        await agent._core.stores.gates.look()
        await agent.execute(Message(Partition(row["topic"], 0), 0, row["key"], row["value"], headers))


@pytest.mark.parametrize("error", [Retryable("HTTP 500"), UnknownOutcome("no answer that could be read")])
async def test_a_text_that_the_model_breaks_on_takes_no_other_with_it(bench: EmbedBench, error: Exception) -> None:
    bench.model.batch_size = 20
    (*good, bad) = await shares(bench, 8)
    broken, calls = words(bench, 8).strip(), []

    def breaks(texts: Sequence[str]) -> None:
        if broken in texts:
            calls.append(len(texts))
            raise error

    bench.model.before = breaks
    agent = bench.agent(owner="one worker, which remembers failures")
    for _ in range(15):
        await a_round(bench, agent)
    states = {
        row["share_id"]: row["state"]
        for row in await bench.rows("SELECT * FROM jobs WHERE account = $1", bench.account)
    }
    assert [states.pop(bad.key.decode()), *states.values()] == ["failed", *["done"] * len(good)]
    assert sorted(calls) == [1, 1, 1, 8, 8], "twice with the others, and what it has of its own"


async def test_an_outage_leaves_the_texts_together(bench: EmbedBench) -> None:
    bench.model.batch_size = 20
    await shares(bench, 8)
    outage = [True]

    def down(_: Sequence[str]) -> None:
        if outage:
            raise Retryable("HTTP 503")

    bench.model.before = down
    agent = bench.agent(owner="one worker")
    for _ in range(8):
        agent._core.stores.gates._failures[f"model:{bench.model.name}"] = 9  # others have found out, too
        await a_round(bench, agent)
    outage.clear()
    for _ in range(12):
        await a_round(bench, agent)
    assert await bench.states() == ["done"] * 8
    assert await bench.rows("SELECT 1 FROM pending_texts WHERE alone AND account = $1", bench.account) == []


async def test_another_account_pays_for_nothing_of_a_call_that_was_tried_twice(
    bench: EmbedBench, other: EmbedBench
) -> None:
    other.ledger = bench.ledger
    theirs = other.message(paragraph(bench, 1) + "\n\n" + paragraph(bench, 2))
    await other.agent().execute(theirs)
    failures = [Retryable("busy")]

    def busy(_: Sequence[str]) -> None:
        if failures:
            raise failures.pop()

    bench.model.before = busy
    await bench.agent().execute(bench.message(paragraph(bench, 1) + "\n\n" + paragraph(bench, 3)))
    await bench.agent(patience=AT_ONCE).execute(bench.message(words(bench, 9)))
    await finish(bench, 3)
    await finish(other, 3)
    assert await bench.states() == ["done"] * 2
    assert await other.states() == ["done"]
    for one in (bench, other):
        costs = await one.costs()
        assert costs["works"] == costs["calls"]


def paragraph(bench: EmbedBench, number: int) -> str:
    return f"Mill {bench.account} number {number}. " + "The wheel turns again. " * 112


async def test_a_share_whose_work_another_one_had_begun_has_paid_for_it(bench: EmbedBench) -> None:
    text = words(bench, 3)
    first, second = bench.message(text), bench.message(text)
    await bench.agent().execute(first)
    await cancelled(bench, first)
    await bench.agent(patience=AT_ONCE).execute(second)
    receipts = await bench.rows(projections._CALLS, second.key.decode())
    assert [projections._receipt(row, second.key.decode()).reused for row in receipts] == [False]


async def test_what_only_another_account_wants_is_not_taken_along(bench: EmbedBench, other: EmbedBench) -> None:
    text = words(bench, 3)
    first = bench.message(text)
    await bench.agent().execute(first)
    await cancelled(bench, first)
    await other.agent().execute(other.message(text))
    await bench.agent(patience=AT_ONCE).execute(bench.message(words(bench, 5)))
    assert [len(texts) for texts in bench.model.invoice] == [1]


async def cancelled(bench: EmbedBench, message: Message) -> None:
    share = message.key.decode()
    await bench.database.execute(
        "UPDATE jobs SET state = 'cancelled', cancelled_at = now() WHERE share_id = $1", share
    )
    await bench.database.execute("DELETE FROM waiting WHERE share_id = $1", share)


async def test_texts_of_one_work_are_one_part_whoever_asked_for_them(bench: EmbedBench) -> None:
    store, now = pending.PgPendingTexts(bench.database), datetime.now(UTC)
    later = Patience(timedelta(minutes=5)).times(3, now, in_bulk=False)
    key = WorkKey(f"embed:{bench.account}")
    want = Want(key, "first", bench.account, bench.model.name, [Chunk("one two", 2)], later, 5, 100)
    await store.next(want)
    both = [Chunk("one two", 2), Chunk("three", 1)]
    again = replace(want, share_id="second", missing=both, times=AT_ONCE.times(3, now, in_bulk=False), alone=True)
    found = await store.next(again)
    assert isinstance(found, Together)
    assert {text.share_id for text in found.texts} == {"second"}


async def test_what_comes_before_it_is_written_down_that_a_job_waits_wakes_it(bench: EmbedBench) -> None:
    agent, first = bench.agent(), bench.message(words(bench, 1))
    jobs = agent._core.stores.jobs
    wait = jobs.wait

    async def late(*args: object, **more: object) -> object:
        await bench.agent(owner="other", patience=AT_ONCE).execute(bench.message(words(bench, 2)))
        return await wait(*args, **more)  # type: ignore[arg-type]  # as it was called

    jobs.wait = late  # type: ignore[method-assign,assignment]  # somebody is faster
    await agent.execute(first)
    assert [len(texts) for texts in bench.model.invoice] == [2]
    assert [message.key for message in await bench.due()] == [first.key]


async def test_what_a_replay_asked_for_waits_for_its_window_also_after_a_failure(
    bench: EmbedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    window = OffPeak.read(f"{now + timedelta(hours=3):%H:%M}-{now + timedelta(hours=4):%H:%M}")
    patience = Patience(timedelta(minutes=5), short=1000, off_peak=window)
    known, away = pending.PgPendingTexts.next, [Unavailable("the database is away")]

    async def fails(store: pending.PgPendingTexts, want: Want) -> object:
        if away:
            raise away.pop()
        return await known(store, want)

    monkeypatch.setattr(pending.PgPendingTexts, "next", fails)
    await bench.agent(patience=patience).execute(await forced(bench, words(bench, 3)))
    await bench.database.execute("UPDATE waiting SET due = now() WHERE account = $1", bench.account)
    for message in await bench.due():
        await bench.agent(patience=patience).execute(message)
    assert bench.model.invoice == []
    assert await bench.states() == ["waiting"]


async def test_who_wants_it_again_gets_no_answer_of_before(bench: EmbedBench) -> None:
    text = words(bench, 3)
    first = bench.message(text)

    class DiesKeeping(Dying):
        async def transaction(self, body: Callable[[Connection], Awaitable[T]]) -> T:
            if bench.model.invoice:
                raise Died
            return await super().transaction(body)

    with pytest.raises(Died):
        await bench.agent(DiesKeeping(bench.database, dies_after(10**6)), owner="first", patience=AT_ONCE).execute(
            first
        )
    await bench.agent(owner="again").execute(await forced(bench, text))
    await bench.expire_leases()
    await bench.agent(owner="second", patience=AT_ONCE).execute(first)
    await finish(bench)
    assert await bench.states() == ["done"] * 2
    assert len(bench.model.invoice) == 2


_WAITING = """
INSERT INTO pending_texts (work_key, content_hash, model, account, share_id, text, tokens, not_before, due,
                           claimed_by)
SELECT $1 || n, md5($1 || n), $2, $1, $1 || n, repeat('words ', 200), 200, now(), now() + n * interval '1 ms', $4
  FROM generate_series(1, $3::int) AS n
"""


@pytest.mark.parametrize("known", ["nothing", "three of them", "another model", "claimed ones", "all of them"])
async def test_a_hundred_thousand_texts_that_wait_are_not_all_read(bench: EmbedBench, known: str) -> None:
    """Whatever the statistics say: those of a table that fills and empties are of another hour."""
    model, account = bench.model.name, bench.account
    run = bench.database.execute
    try:
        if known == "three of them":
            await run(_WAITING, f"{account}-three-", model, 3, None)
        elif known == "another model":
            await run(_WAITING, f"{account}-other-", f"not-{model}", 3_000, None)
        elif known == "claimed ones":
            await run(_WAITING, f"{account}-claimed-", model, 3_000, "somebody")
        if known != "all of them":
            await bench.rows("ANALYZE pending_texts")
        await run(_WAITING, account, model, 100_000, None)
        if known == "all of them":
            await bench.rows("ANALYZE pending_texts")
        (plan,) = await bench.rows(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {pending._OTHERS}", model, account, "x", ["h"], 99
        )
        top = json.loads(plan[0]) if isinstance(plan[0], str) else plan[0]
        found = top[0]["Plan"]
        blocks = found["Shared Hit Blocks"] + found["Shared Read Blocks"]
        assert blocks < 5_000, f"{blocks} of twenty thousand; {json.dumps(top)}"
    finally:
        await run("DELETE FROM pending_texts WHERE starts_with(account, $1)", account)
