"""Texts of many shares in one call: nothing lost, nothing paid twice, whoever dies where."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from millrace.contracts.events import StageRequested
from millrace.errors import Poison, Retryable
from millrace.ids import WorkKey
from millrace.kafka.records import Message, Partition
from millrace.store.database import Connection, Database, Record
from millrace.stream.stage import GENERATION_OPTION
from millrace.testing.registry import codec_in_memory
from services.embed_agent.adapters.pending import PgPendingTexts
from services.embed_agent.domain import Chunk
from services.embed_agent.ports import Together, Want
from services.embed_agent.together import AT_ONCE, CROWD, Patience
from tests.support.dying import Died, DyingDatabase, dies_after
from tests.support.embed_bench import EmbedBench

T = TypeVar("T")


class Dying(DyingDatabase):
    """It may die around transactions and readings, too."""

    async def fetch(self, sql: str, *args: object) -> Sequence[Record]:
        self._step()
        rows = await super().fetch(sql, *args)
        self._step()
        return rows

    async def transaction(self, body: Callable[[Connection], Awaitable[T]]) -> T:
        self._step()
        done = await super().transaction(body)
        self._step()
        return done


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> EmbedBench:
    return EmbedBench(database, await codec_in_memory(), tmp_path)


def words(bench: EmbedBench, number: int) -> str:
    """A text that nobody else has, of as many words as its number and more."""
    return f"The mill of {bench.account} number {number} " + "grinds corn " * number


async def shares(bench: EmbedBench, count: int) -> list[Message]:
    """Shares that wait for others."""
    messages = [bench.message(words(bench, number)) for number in range(1, count + 1)]
    for message in messages:
        await bench.agent().execute(message)
    return messages


async def finish(bench: EmbedBench, runs: int = 6) -> None:
    """Let whatever waits come back until nothing does."""
    for _ in range(runs):
        for message in await bench.all_due():
            await bench.agent(owner="later").execute(message)


async def test_texts_wait_for_others_and_go_in_one_call(bench: EmbedBench) -> None:
    first = await shares(bench, 4)
    assert bench.model.invoice == []
    assert await bench.states() == ["waiting"] * 4
    job = await bench.job(first[0])
    assert "one call" in job["reason"]
    assert job["attempt"] == 0
    last = bench.message(words(bench, 5))
    await bench.agent().execute(last)
    assert [len(texts) for texts in bench.model.invoice] == [5]
    assert (await bench.job(last))["state"] == "done"
    woken = await bench.due()
    assert len(woken) == 4
    for message in woken:
        await bench.agent().execute(message)
    assert await bench.states() == ["done"] * 5
    assert len(bench.model.invoice) == 1
    assert await bench.costs() == dict.fromkeys(("works", "calls", "ledger"), bench.model.billed())
    rows = await bench.rows(
        "SELECT tokens, cost_micro_usd FROM call_parts WHERE share_id = ANY($1)",
        [m.key.decode() for m in [*first, last]],
    )
    assert sorted(row["tokens"] for row in rows) == [8, 10, 12, 14, 16]
    assert sorted(row["cost_micro_usd"] for row in rows) == [24, 30, 36, 42, 48]


async def test_who_has_waited_long_enough_takes_along_whoever_waits(bench: EmbedBench) -> None:
    await shares(bench, 3)
    (one, *_) = await bench.all_due()
    await bench.agent().execute(one)
    assert [len(texts) for texts in bench.model.invoice] == [3]


async def test_who_cannot_wait_takes_along_whoever_waits(bench: EmbedBench) -> None:
    await shares(bench, 2)
    await bench.agent(patience=AT_ONCE).execute(bench.message(words(bench, 3)))
    assert [len(texts) for texts in bench.model.invoice] == [3]


async def test_who_waits_for_a_time_is_not_taken_along_before(bench: EmbedBench) -> None:
    await shares(bench, 1)
    await bench.database.execute(
        "UPDATE pending_texts SET not_before = now() + interval '1 h' WHERE account = $1", bench.account
    )
    await bench.agent(patience=AT_ONCE).execute(bench.message(words(bench, 3)))
    assert [len(texts) for texts in bench.model.invoice] == [1]


async def test_short_shares_go_at_once_until_there_is_a_crowd_of_them(bench: EmbedBench) -> None:
    bench.model.batch_size, hasty = 20, Patience(timedelta(minutes=5), short=1000)
    for number in range(CROWD + 5):
        await bench.agent(patience=hasty).execute(bench.message(words(bench, number)))
    assert await bench.states() == ["done"] * CROWD + ["waiting"] * 5
    await finish(bench)
    assert [len(texts) for texts in bench.model.invoice] == [1] * CROWD + [5]


async def test_a_share_that_is_cancelled_is_not_taken_along(bench: EmbedBench) -> None:
    (gone, _) = await shares(bench, 2)
    await bench.database.execute(
        "UPDATE jobs SET state = 'cancelled', cancelled_at = now() WHERE share_id = $1", gone.key.decode()
    )
    await bench.agent(patience=AT_ONCE).execute(bench.message(words(bench, 3)))
    assert [len(texts) for texts in bench.model.invoice] == [2]


STEPS = 60


@pytest.mark.parametrize("steps", range(STEPS))
async def test_whoever_dies_wherever_all_are_found_and_nothing_is_paid_twice(bench: EmbedBench, steps: int) -> None:
    waiting = await shares(bench, 2)
    step = dies_after(steps)
    bench.outbox.step = bench.ledger.step = bench.model.step = step
    last, died = bench.message(words(bench, 3)), False
    try:
        await bench.agent(Dying(bench.database, step), owner="first", patience=AT_ONCE).execute(last)
    except Died:
        died = True
    bench.outbox.step = bench.ledger.step = bench.model.step = lambda: None
    # The others come first: what the dead one has claimed is not theirs until nobody goes on with it.
    for message in await bench.all_due():
        await bench.agent(owner="second").execute(message)
    await bench.expire_leases()
    await bench.agent(owner="second", patience=AT_ONCE).execute(last)
    await finish(bench)
    assert await bench.states() == ["done"] * 3
    unknown = [end for end in bench.ledger.ended.values() if end == "unknown"]
    bought = [text for texts in bench.model.invoice for text in texts]
    assert len(set(bought)) == 3
    # Paid twice is only what nobody knows the end of, which stays charged.
    assert len(bought) - 3 <= 3 * len(unknown)
    costs = await bench.costs()
    assert costs["works"] == costs["calls"] == costs["ledger"]
    lost = sum(bench.ledger.holds[key] for key, end in bench.ledger.ended.items() if end == "unknown")
    assert costs["ledger"] <= bench.model.billed() <= costs["ledger"] + lost
    assert set(bench.ledger.holds) <= set(bench.ledger.ended), "no hold is left open"
    if steps == STEPS - 1:
        assert not died, "there are more steps than are tried"
    found = await bench.rows(
        "SELECT DISTINCT j.share_id FROM jobs j JOIN chunks USING (work_key) "
        "JOIN embeddings e ON (e.model, e.content_hash) = (chunks.model, chunks.content_hash) WHERE j.account = $1",
        bench.account,
    )
    assert len(found) == 3
    assert {m.key.decode() for m in [*waiting, last]} == {row["share_id"] for row in found}


async def test_what_a_work_has_paid_for_and_not_kept_is_taken_over(bench: EmbedBench) -> None:
    await shares(bench, 2)
    last, step = bench.message(words(bench, 3)), dies_after(10**6)

    class DiesKeeping(Dying):
        async def transaction(self, body: Callable[[Connection], Awaitable[T]]) -> T:
            if bench.model.invoice:
                raise Died
            return await super().transaction(body)

    with pytest.raises(Died):
        await bench.agent(DiesKeeping(bench.database, step), owner="first", patience=AT_ONCE).execute(last)
    await bench.database.execute(
        "UPDATE jobs SET state = 'cancelled', cancelled_at = now() WHERE share_id = $1", last.key.decode()
    )
    await bench.expire_leases()
    await finish(bench)
    assert await bench.states() == ["cancelled", "done", "done"]
    assert [len(texts) for texts in bench.model.invoice] == [3], "it is not bought again"
    parts = await bench.rows(
        "SELECT sum(cost_micro_usd)::bigint AS sum FROM call_parts JOIN calls USING (request_id) WHERE account = $1",
        bench.account,
    )
    assert parts[0]["sum"] == bench.model.billed()


async def test_where_the_money_does_not_do_for_all_each_tries_for_itself(bench: EmbedBench) -> None:
    await shares(bench, 3)
    bench.ledger.cap = 36  # the third costs as much; all of them 90
    await bench.agent(patience=AT_ONCE).execute(bench.message(words(bench, 9)))
    assert (await bench.states()).count("parked") == 1
    woken = await bench.due()
    assert len(woken) == 3, "at once, although their time has not come"
    for message in woken:
        await bench.agent().execute(message)
    await finish(bench)
    assert (await bench.states()).count("done") == 3
    assert sum(len(texts) for texts in bench.model.invoice) == 3
    bench.ledger.cap = None
    await finish(bench)
    assert await bench.states() == ["done"] * 4
    assert sum(len(texts) for texts in bench.model.invoice) == 4


async def test_a_text_that_the_model_refuses_takes_no_other_with_it(bench: EmbedBench) -> None:
    (bad, *_) = await shares(bench, 3)
    refused, tries = words(bench, 1).strip(), []

    def refuses(texts: Sequence[str]) -> None:
        if refused in texts:
            tries.append(len(texts))
            raise Poison("the model refuses these texts")

    bench.model.before = refuses
    await bench.agent(patience=AT_ONCE).execute(bench.message(words(bench, 4)))
    await finish(bench)
    assert await bench.states() == ["done"] * 3 + ["failed"]
    assert (await bench.job(bad))["state"] == "failed"
    assert tries == [4, 1], "once with the others, once alone"
    assert await bench.costs() == dict.fromkeys(("works", "calls", "ledger"), bench.model.billed())


async def test_a_call_that_fails_is_tried_again_with_the_same_texts(bench: EmbedBench) -> None:
    await shares(bench, 2)
    failures = [Retryable("busy")]

    def busy(texts: Sequence[str]) -> None:
        if failures:
            raise failures.pop()

    bench.model.before = busy
    last = bench.message(words(bench, 3))
    await bench.agent(patience=AT_ONCE).execute(last)
    assert (await bench.job(last))["state"] == "waiting"
    await finish(bench)
    assert await bench.states() == ["done"] * 3
    assert [len(texts) for texts in bench.model.invoice] == [3]


async def test_the_same_words_in_two_works_at_once_are_bought_once(bench: EmbedBench) -> None:
    text = words(bench, 3)
    messages = [
        bench.message(text),
        bench.message(text),
        bench.message(f"{text}\n\n"),
        bench.message(f"\u200b{text}"),
    ]
    await asyncio.gather(
        *(bench.agent(owner=f"o{n}", patience=AT_ONCE).execute(one) for n, one in enumerate(messages))
    )
    await finish(bench)
    assert await bench.states() == ["done"] * 4
    assert sum(len(texts) for texts in bench.model.invoice) == 1


async def test_what_became_known_meanwhile_is_not_wanted_any_more(bench: EmbedBench) -> None:
    text = words(bench, 3).strip()
    await bench.agent(patience=AT_ONCE).execute(bench.message(text))
    chunk = Chunk(text, 3)
    times = AT_ONCE.times(3, datetime.now(UTC), in_bulk=False)
    want = Want(WorkKey("embed:other"), "s", bench.account, bench.model.name, [chunk], times, 5, 100)
    assert await PgPendingTexts(bench.database).next(want) == Together([])
    again = await PgPendingTexts(bench.database).next(replace(want, work_key=WorkKey("embed:again"), again=True))
    assert isinstance(again, Together)
    assert [one.text for one in again.texts] == [text]


async def test_many_shares_at_two_agents_are_each_bought_once_in_few_calls(bench: EmbedBench) -> None:
    bench.model.batch_size = 20
    messages = [bench.message(words(bench, number)) for number in range(60)]
    await asyncio.gather(*(bench.agent(owner=f"o{n % 2}").execute(message) for n, message in enumerate(messages)))
    await finish(bench)
    assert await bench.states() == ["done"] * 60
    bought = [text for texts in bench.model.invoice for text in texts]
    assert len(bought) == len(set(bought)) == 60
    assert len(bench.model.invoice) <= 6
    assert await bench.costs() == dict.fromkeys(("works", "calls", "ledger"), bench.model.billed())


async def test_work_that_is_wanted_again_is_bought_again_once(bench: EmbedBench) -> None:
    text = words(bench, 3)
    await bench.agent(patience=AT_ONCE).execute(bench.message(text))
    command = await forced(bench, text)
    step = dies_after(10**6)

    class DiesStoring(Dying):
        async def transaction(self, body: Callable[[Connection], Awaitable[T]]) -> T:
            done = await super().transaction(body)
            if len(bench.model.invoice) == 2 and "bought" in getattr(body, "__qualname__", ""):
                raise Died
            return done

    with pytest.raises(Died):
        await bench.agent(DiesStoring(bench.database, step), owner="first", patience=AT_ONCE).execute(command)
    await bench.expire_leases()
    await bench.agent(owner="second", patience=AT_ONCE).execute(command)
    await finish(bench)
    assert len(bench.model.invoice) == 2


async def forced(bench: EmbedBench, text: str) -> Message:
    """What a replay with --force asks."""
    event = bench.message(text)
    request = StageRequested(
        share_id=event.key.decode(),
        account=bench.account,
        stage="embed",
        reason="replay",
        origin_topic="share.created",
        origin_key=event.key,
        origin_value=event.value,
        origin_headers={},
        options={GENERATION_OPTION: "again"},
        force=True,
        requested_by="test",
        requested_at=datetime.now(UTC),
    )
    return Message(Partition("embed.requested", 0), 0, event.key, bench.codec.encode("embed.requested", request), {})


async def test_what_is_done_or_wanted_by_nobody_is_swept(bench: EmbedBench) -> None:
    (left, waits) = await shares(bench, 2)
    await bench.agent(patience=AT_ONCE).execute(bench.message(words(bench, 3)))
    for message in await bench.due():
        if message.key == left.key:
            await bench.agent().execute(message)
    await PgPendingTexts(bench.database).sweep()
    rows = await bench.rows("SELECT share_id FROM pending_texts WHERE account = $1", bench.account)
    assert [row["share_id"] for row in rows] == [waits.key.decode()]
    await bench.database.execute(
        "UPDATE pending_texts SET due = now() - $2::interval, added_at = now() - $2::interval WHERE account = $1",
        bench.account,
        timedelta(days=2),
    )
    await bench.database.execute("DELETE FROM jobs WHERE share_id = $1", waits.key.decode())
    await bench.expire_leases()
    await PgPendingTexts(bench.database).sweep()
    assert await bench.rows("SELECT 1 FROM pending_texts WHERE account = $1", bench.account) == []
