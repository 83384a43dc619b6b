"""Dead letters: from the real topic into the table, what people decide about them, and what a redrive costs."""

from __future__ import annotations

import asyncio
import uuid
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest

from millrace.contracts.api import Problem
from millrace.contracts.catalog import Catalog
from millrace.contracts.events import ShareCreated, ShareEvent, StageRequested
from millrace.contracts.headers import TRACE_HEADER, parse_traceparent
from millrace.embedded.readyfile import Addresses
from millrace.errors import Poison, Retryable, UnknownOutcome
from millrace.kafka.producer import open_producer
from millrace.kafka.records import Message, Partition
from millrace.models.port import Paid
from millrace.models.wordllama import WordLlamaModel
from millrace.money import MicroUSD
from millrace.stream.calls import MAX_CALLS
from millrace.stream.incoming import Incoming
from millrace.stream.reader import Reader
from millrace.stream.stage import Plan, Run
from millrace.tracing.spans import BEFORE_HEADER
from services.api_gateway import dead_projection
from services.api_gateway.app import create_app
from services.api_gateway.dead_projection import DeadLetterProjection
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.principal import Principal
from services.api_gateway.who import signed_in
from tests.integration.dead import STAGE, DeadLetters
from tests.integration.gateway import open_gateway, provision
from tests.support.dying import Died
from tests.support.job_bench import Bench
from tests.support.toy_stage import SPEC, Text

CATALOG = Catalog.load()


@pytest.fixture(scope="module")
async def dead(
    stack: Addresses, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DeadLetters]:
    await provision(stack)
    folder: Path = tmp_path_factory.mktemp("gateway")
    async with (
        open_producer(stack.cluster) as producer,
        open_gateway(stack, migrated, folder, WordLlamaModel()) as gateway,
    ):
        reading = asyncio.create_task(DeadLetterProjection(gateway.pool, stack.cluster, CATALOG.dead_topics).run())
        yield DeadLetters(gateway, producer)
        await dead_projection.stop(reading)


def problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    return Problem.model_validate(response.json()).detail


async def died(dead: DeadLetters, error: Exception | None = None) -> tuple[Bench, str]:
    """A job that was given up on, and its dead letter."""
    bench = dead.bench()
    bench.toy.raises = [error or Poison("the cause")]
    await bench.runner().execute(bench.message)
    (letter_id,) = await dead.of(bench.share)
    return bench, letter_id


async def test_a_dead_letter_is_shown_with_its_evidence_and_its_bytes(dead: DeadLetters) -> None:
    bench, letter_id = await died(dead)
    (listed,) = (await dead.letters(share=bench.share, state="open", stage=STAGE, error="Poison")).letters
    letter = await dead.show(letter_id)
    assert listed.model_dump() == {name: getattr(letter, name) for name in type(listed).model_fields}
    assert (letter.stage, letter.state, letter.error, letter.reason) == (STAGE, "open", "Poison", "the cause")
    assert (letter.attempts, letter.origin, letter.service) == (1, "share.created-0@5", "test")
    assert letter.work_key == (await bench.job())["work_key"]
    assert b64decode(letter.value) == bench.message.value
    assert b64decode(letter.key) == bench.share.encode()
    assert {name: b64decode(text) for name, text in letter.headers.items()} == {"h": b"1"}
    assert isinstance(letter.event, dict)
    assert letter.event["text"] == f"words of {bench.share}"
    assert "Poison: the cause" in letter.stack
    assert (await dead.letters(share=bench.share, error="Retryable")).letters == []


async def test_a_redrive_brings_the_job_to_its_end_once(dead: DeadLetters) -> None:
    bench, letter_id = await died(dead)
    changed = await dead.redrive(letter_id)
    assert (changed.state, changed.share_id, changed.changed_by) == (
        "redriven",
        bench.share,
        dead.gateway.parts.owner,
    )
    assert (await bench.job())["state"] == "queued"
    again = await dead.redrive(letter_id)
    assert (again.repeated, again.changed_at) == (True, changed.changed_at)

    (command,) = await dead.commands(bench.share)
    for _ in range(2):  # the outbox publishes at least once
        await bench.runner().execute(command)
    assert (await bench.job())["state"] == "done"
    assert bench.toy.billed == 1
    assert len(bench.outbox.to("summary.ready")) == 1
    (letter,) = (await dead.letters(share=bench.share)).letters
    assert (letter.state, letter.changed_by) == ("redriven", dead.gateway.parts.owner)


async def test_a_redrive_has_a_trace_of_its_own_that_links_to_the_old_one(dead: DeadLetters) -> None:
    old = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    bench, letter_id = await died(dead)
    changed = "UPDATE dead_letters SET headers = headers || jsonb_build_object($2::text, $3::text) WHERE id = $1"
    await dead.gateway.pool.execute(changed, letter_id, TRACE_HEADER, b64encode(old.encode()).decode())
    await dead.redrive(letter_id)
    (command,) = await dead.commands(bench.share)
    assert command.headers[BEFORE_HEADER] == old.encode()
    trace = parse_traceparent(command.headers[TRACE_HEADER])
    assert trace is not None
    assert trace.trace_id != old[3:35]


async def test_who_is_signed_in_is_who_has_decided(dead: DeadLetters) -> None:
    app = create_app(dead.gateway.parts, LOOPBACK)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        for owner, path in (("ada", "{}/redrive"), ("bob", "{}/discard"), ("eve", "redrive"), ("kim", "discard")):
            app.dependency_overrides[signed_in] = partial(Principal, owner, frozenset({"admin"}), None)
            _, letter_id = await died(dead)
            since = (await dead.show(letter_id)).died_at.isoformat()
            wish = None if "{}" in path else {"stage": STAGE, "since": since}
            assert (await http.post(f"/dead/{path.format(letter_id)}", json=wish)).status_code == 200
            assert (await dead.show(letter_id)).changed_by == owner


async def test_two_people_who_redrive_at_once_send_one_command(dead: DeadLetters) -> None:
    bench, letter_id = await died(dead)
    both = await asyncio.gather(*(dead.redrive(letter_id) for _ in range(2)))
    assert sorted(one.repeated for one in both) == [False, True]
    assert len(await dead.commands(bench.share)) == 1


async def test_what_was_decided_stays_when_the_topics_are_read_again_from_their_start(
    dead: DeadLetters, stack: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    redriven, one = await died(dead)
    discarded, other = await died(dead)
    await dead.redrive(one)
    assert (await dead.post(f"{other}/discard")).status_code == 200

    pool = dead.gateway.pool
    before = await pool.fetchval("SELECT count(*) FROM dead_letters")
    await pool.execute("DELETE FROM dead_letters WHERE id NOT IN ($1, $2)", one, other)
    monkeypatch.setattr(dead_projection, "_READ", f"{dead_projection._READ} LIMIT 0")
    again = asyncio.create_task(DeadLetterProjection(pool, stack.cluster, CATALOG.dead_topics).run())
    async with asyncio.timeout(20):
        while await pool.fetchval("SELECT count(*) FROM dead_letters") < before:  # noqa: ASYNC110  # rows have no events
            await asyncio.sleep(0.05)
    await dead_projection.stop(again)

    assert [letter.state for letter in (await dead.letters(share=redriven.share)).letters] == ["redriven"]
    assert [letter.state for letter in (await dead.letters(share=discarded.share)).letters] == ["discarded"]
    assert len(await dead.commands(redriven.share)) == 1


async def test_a_process_that_dies_before_it_has_noted_the_end_leaves_one_dead_letter(dead: DeadLetters) -> None:
    bench = dead.bench()
    bench.toy.raises = [Poison("never"), Poison("never")]
    confirmed = bench.outbox.to

    def die() -> None:
        if confirmed("summarize.dead"):
            raise Died

    bench.outbox.step = die
    with pytest.raises(Died):
        await bench.runner().execute(bench.message)
    bench.outbox.step = lambda: None
    await bench.expire_leases()
    # The outbox of the test has died before Kafka was told: now both are told.
    (first,) = bench.outbox.to("summarize.dead")
    await dead.producer.send(first.topic, key=first.key, value=first.value, headers=list(first.headers.items()))
    await bench.runner(owner="next").execute(bench.message)

    assert len(bench.outbox.to("summarize.dead")) == 2
    last, _ = await died(dead)
    assert len(await dead.of(bench.share)) == 1
    await bench.runner().execute(bench.message)
    assert len(bench.outbox.to("summarize.dead")) == 2, "what was given up on is not tried when it is delivered again"
    assert last.share != bench.share


async def test_a_redrive_has_a_fresh_and_bounded_budget_of_calls(dead: DeadLetters) -> None:
    bench = dead.bench()
    called = 0

    async def never() -> Paid[Text]:
        nonlocal called
        called += 1
        raise UnknownOutcome("time-out")

    bench.toy._bill = never  # type: ignore[method-assign]  # a provider that fails and bills
    message = bench.message
    for _ in range(MAX_CALLS):
        await bench.runner().execute(message)
        if (await bench.job())["state"] == "waiting":
            message = await bench.wake()
    assert called == MAX_CALLS
    (letter_id,) = await dead.of(bench.share)

    await dead.redrive(letter_id)
    (command,) = await dead.commands(bench.share)
    for _ in range(20):  # every restart delivers it again
        await bench.runner().execute(command)
        if (await bench.job())["state"] == "waiting":
            await bench.runner().execute(await bench.wake())
    assert called == 2 * MAX_CALLS
    newest, before = await dead.of(bench.share, 2)
    assert before == letter_id
    letter = await dead.show(newest)
    assert (letter.state, letter.origin) == ("open", "share.created-0@5"), (
        "of the first message, also the second time"
    )

    await dead.redrive(newest)
    bench.toy._bill = type(bench.toy)._bill.__get__(bench.toy)  # type: ignore[method-assign]  # the cause is mended
    await bench.runner().execute((await dead.commands(bench.share))[-1])
    assert ((await bench.job())["state"], bench.toy.billed) == ("done", 1)


async def test_a_redrive_does_not_pay_again_for_an_answer_that_was_kept(dead: DeadLetters) -> None:
    bench = dead.bench()
    broken = True

    async def work(plan: Plan[ShareCreated], run: Run) -> Text:
        await run.call(0, Text, model="toy", hold=MicroUSD(10), do=bench.toy._bill)
        if broken:
            raise Poison("its answer cannot be used")
        return Text(text="short")

    bench.toy.work = work  # type: ignore[method-assign]  # a stage that stumbles over the answer
    await bench.runner().execute(bench.message)
    (letter_id,) = await dead.of(bench.share)
    broken = False
    await dead.redrive(letter_id)
    await bench.runner().execute((await dead.commands(bench.share))[0])
    assert ((await bench.job())["state"], bench.toy.billed) == ("done", 1)


async def test_a_redrive_of_what_was_done_meanwhile_emits_nothing(dead: DeadLetters) -> None:
    bench, letter_id = await died(dead)
    asked = StageRequested(
        share_id=bench.share,
        stage="summarize",
        reason="api",
        origin_topic="share.created",
        origin_value=bench.message.value,
        requested_by="somebody",
        requested_at=datetime.now(UTC),
    )
    raw = bench.codec.encode("summarize.requested", asked)
    await bench.runner().execute(Message(Partition("summarize.requested", 0), 1, b"k", raw, {}))
    assert (await bench.job())["state"] == "done"
    await dead.redrive(letter_id)
    await bench.runner().execute((await dead.commands(bench.share))[0])
    assert (bench.toy.billed, len(bench.outbox.to("summary.ready"))) == (1, 1)


async def test_what_cannot_be_read_stays_until_it_can(dead: DeadLetters) -> None:
    bench = dead.bench()
    bad = Message(Partition("share.created", 2), 9, bench.share.encode(), b"\0nonsense", {})
    await bench.runner().execute(bad)
    (letter_id,) = await dead.of(bench.share)
    letter = await dead.show(letter_id)
    assert letter.event is None
    assert letter.unreadable is not None
    assert letter.unreadable.startswith("Its bytes still cannot be read: ")
    assert "Mend that and redrive it again, or discard it." in problem(await dead.post(f"{letter_id}/redrive"), 409)
    assert (await dead.show(letter_id)).state == "open"
    assert await dead.commands(bench.share) == []


@pytest.mark.parametrize("died_as", ["event", "command"])
async def test_what_died_unread_goes_on_once_it_can_be_read(dead: DeadLetters, died_as: str) -> None:
    bench = dead.bench()
    asked = StageRequested(
        share_id=bench.share,
        stage="summarize",
        reason="retry",
        origin_topic="share.created",
        origin_value=bench.message.value,
        options={"model": "other"},
        requested_by="somebody",
        requested_at=datetime.now(UTC),
    )
    command = Message(
        Partition("summarize.requested", 1),
        3,
        bench.share.encode(),
        bench.codec.encode("summarize.requested", asked),
        {},
    )
    unread = bench.message if died_as == "event" else command
    runner = bench.runner()
    await runner._end.bury(unread, Poison("an older version could not read this"))
    (letter_id,) = await dead.of(bench.share)
    await dead.redrive(letter_id)
    (sent,) = await dead.commands(bench.share)
    event = await bench.codec.decode("summarize.requested", sent.value)
    assert isinstance(event, StageRequested)
    assert (event.reason, event.origin_topic) == ("redrive", "share.created")
    assert event.options == ({} if died_as == "event" else {"model": "other"})
    await runner.execute(sent)
    assert (await bench.job())["state"] == "done"


async def test_a_message_without_evidence_is_shown_and_can_only_be_discarded(dead: DeadLetters) -> None:
    key = uuid.uuid4().hex.encode()
    await dead.producer.send("summarize.dead", key=key, value=b"whatever", headers=[("x", b"\xff")])
    async with asyncio.timeout(20):
        while not (found := (await dead.letters(error="Unknown", state="open")).letters):  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.05)
    assert "discard it" in problem(await dead.post(f"{found[0].id}/redrive"), 409)
    assert (await dead.post(f"{found[0].id}/discard")).status_code == 200


async def test_a_discarded_letter_is_kept_and_can_still_be_redriven(dead: DeadLetters) -> None:
    _, letter_id = await died(dead)
    assert (await dead.post(f"{letter_id}/discard")).json()["repeated"] is False
    assert (await dead.post(f"{letter_id}/discard")).json()["repeated"] is True
    assert (await dead.redrive(letter_id)).state == "redriven"
    assert "It was redriven at" in problem(await dead.post(f"{letter_id}/discard"), 409)


@pytest.mark.parametrize("what", ["none", "%00"])
async def test_an_id_that_is_none_is_not_found(dead: DeadLetters, what: str) -> None:
    for response in (
        await dead.gateway.http.get(f"/dead/{what}"),
        await dead.post(f"{what}/redrive"),
        await dead.post(f"{what}/discard"),
    ):
        assert problem(response, 404) == "There is no dead letter with this id."


async def test_many_are_counted_first_then_redriven_oldest_first(dead: DeadLetters) -> None:
    await dead.gateway.pool.execute("DELETE FROM dead_letters")
    since = datetime.now(UTC)
    kinds = [Poison("a"), Poison("b"), Poison("c"), Retryable("d")]
    benches = []
    for error in kinds:
        bench = dead.bench()
        await bench.runner()._end.fail(*await _failed(bench), error, attempt=1, work_key=None)
        await dead.of(bench.share)
        benches.append(bench)
    bad = dead.bench()
    await bad.runner().execute(Message(Partition("share.created", 2), 9, bad.share.encode(), b"?", {}))
    (unread,) = await dead.of(bad.share)

    dry = await dead.many("redrive", error="Poison", since=since.isoformat(), dry_run=True)
    assert (dry.matched, dry.changed, dry.next) == (4, 0, None)
    assert (await dead.many("redrive", since=(since + timedelta(hours=1)).isoformat())).matched == 0
    first = await dead.many("redrive", error="Poison", limit=3)
    assert (first.matched, first.changed, first.refused) == (4, 3, [])
    assert first.next is not None
    late, _ = await died(dead)
    second = await dead.many("redrive", error="Poison", limit=3, cursor=first.next)
    assert (second.matched, second.changed, second.next) == (1, 0, None)
    assert [one.id for one in second.refused] == [unread]
    sent = [len(await dead.commands(bench.share)) for bench in (*benches, bad, late)]
    assert sent == [1, 1, 1, 0, 0, 0]
    assert (await dead.many("discard")).changed == 3
    assert (await dead.letters(state="open")).letters == []


async def test_many_that_need_the_same_work_have_one_budget_together(dead: DeadLetters) -> None:
    await dead.gateway.pool.execute("DELETE FROM dead_letters")
    called = 0

    async def never() -> Paid[Text]:
        nonlocal called
        called += 1
        raise UnknownOutcome("time-out")

    benches = [dead.bench("the same words")]
    benches += [dead.bench("the same words") for _ in range(3)]
    for bench in benches:
        bench.toy._bill = never  # type: ignore[method-assign]  # a provider that fails and bills
        message = bench.message
        while True:
            await bench.runner().execute(message)
            if (await bench.job())["state"] != "waiting":
                break
            message = await bench.wake()
        await dead.of(bench.share)
    assert called == MAX_CALLS

    first = await dead.many("redrive", limit=3)
    second = await dead.many("redrive", cursor=first.next)
    assert first.changed + second.changed == len(benches)
    for bench in benches:
        (message,) = await dead.commands(bench.share)
        while True:
            await bench.runner().execute(message)
            if (await bench.job())["state"] != "waiting":
                break
            message = await bench.wake()
        assert (await bench.job())["state"] == "failed"
        await dead.of(bench.share, 2)
    assert called == 2 * MAX_CALLS


async def test_the_largest_message_is_kept(dead: DeadLetters) -> None:
    key, value = uuid.uuid4().hex, b"x" * (4 * 1024 * 1024 - 4096)
    headers = [("millrace-share", key.encode())]
    await dead.producer.send("embed.dead", key=key.encode(), value=value, headers=headers)
    (letter_id,) = await dead.of(key)
    assert b64decode((await dead.show(letter_id)).value) == value


async def test_the_list_has_pages_and_refuses_what_it_does_not_know(dead: DeadLetters) -> None:
    since = datetime.now(UTC).isoformat()
    benches = [(await died(dead))[0] for _ in range(3)]
    assert len((await dead.letters(since=since)).letters) == 3
    first = await dead.letters(limit=2)
    assert first.next is not None
    second = await dead.letters(limit=1, cursor=first.next)
    shares = [letter.share_id for letter in (*first.letters, *second.letters)]
    assert shares == [bench.share for bench in reversed(benches)]
    for name, value in {
        "stage": "nope",
        "state": "gone",
        "since": "yesterday",
        "cursor": "x",
        "stagee": "embed",
    }.items():
        response = await dead.gateway.http.get("/dead", params={name: value})
        assert f"The parameter {name} is not valid" in problem(response, 422)


async def _failed(bench: Bench) -> tuple[Incoming, ShareEvent]:
    incoming = await Reader(bench.codec, SPEC.inputs).read(bench.message)
    assert isinstance(incoming.event, ShareEvent)
    return incoming, incoming.event
