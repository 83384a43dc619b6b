"""Work that needs a local model, at workers that have none; with real PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from millrace.contracts.dead import ROUND_HEADER
from millrace.contracts.events import Event, ShareCreated, StageRequested
from millrace.errors import Retryable
from millrace.kafka.records import Message, Partition
from millrace.store.database import Record
from millrace.stream.incoming import GATE_HEADER, place_of
from millrace.stream.stage import Plan
from tests.support.dying import Died, dies_after
from tests.support.gateway_acts import asked_anew, cancelled, queue
from tests.support.job_bench import Bench
from tests.support.outbox import Sent
from tests.support.toy_stage import SPEC

TOPIC = "summarize.requested.local"
LOCAL = replace(SPEC, local=True)


@pytest.fixture(autouse=True)
def local_model(bench: Bench) -> None:
    """The stage's model is one of this machine."""
    planned = bench.toy.plan

    def plan(event: Event, options: Mapping[str, str]) -> Plan[ShareCreated] | None:
        found = planned(event, options)
        return None if found is None else replace(found, local=True)

    bench.toy.plan = plan  # type: ignore[method-assign]


def handed_over(bench: Bench) -> list[Message]:
    """What a worker of the local topic reads."""
    return [delivered(sent, offset) for offset, sent in enumerate(bench.outbox.to(TOPIC))]


def delivered(sent: Sent, offset: int = 0) -> Message:
    return Message(Partition(sent.topic, 0), offset, sent.key, sent.value, sent.headers)


async def rows(bench: Bench) -> list[Record]:
    return list(await bench.database.fetch("SELECT * FROM jobs WHERE share_id = $1", bench.share))


async def test_a_local_worker_reads_its_own_topic_in_its_own_group() -> None:
    assert (LOCAL.topics, LOCAL.group, LOCAL.dead) == ((TOPIC,), "millrace-summarize-local", "summarize.dead")
    assert (SPEC.topics, SPEC.group) == (("share.created", "summarize.requested"), "millrace-summarize-agent")


async def test_an_event_is_handed_over_and_done_by_the_worker_that_has_the_model(bench: Bench) -> None:
    await bench.runner(hands_over=True).execute(bench.message)
    assert bench.ledger.asked == []
    assert await rows(bench) == [], "its state is the other worker's to write"
    (message,) = handed_over(bench)
    command = await bench.codec.decode(TOPIC, message.value)
    assert isinstance(command, StageRequested)
    assert (command.reason, command.origin_topic) == ("local", "share.created")
    assert command.origin_value == bench.message.value

    await bench.runner(spec=LOCAL, owner="local").execute(message)
    assert (await bench.job())["state"] == "done"
    assert len(bench.outbox.to("summary.ready")) == 1
    assert bench.toy.billed == 1


async def test_a_record_that_is_handed_over_twice_is_done_once(bench: Bench) -> None:
    for _ in range(2):
        await bench.runner(hands_over=True).execute(bench.message)
    for message in handed_over(bench):
        await bench.runner(spec=LOCAL).execute(message)
    await bench.runner(hands_over=True).execute(bench.message)
    assert len(handed_over(bench)) == 2, "what is done is not handed over again"
    assert (bench.toy.billed, len(bench.outbox.to("summary.ready"))) == (1, 1)


async def test_what_waits_comes_back_to_the_local_topic(bench: Bench) -> None:
    bench.toy.raises = [Retryable("busy")]
    await bench.runner(hands_over=True).execute(bench.message)
    (message,) = handed_over(bench)
    await bench.runner(spec=LOCAL).execute(message)
    (row,) = await bench.waiting()
    assert row["topic"] == TOPIC
    await bench.runner(hands_over=True).execute(bench.message)
    assert len(handed_over(bench)) == 1, "it waits, and will be woken"
    await bench.runner(spec=LOCAL).execute(message)
    assert bench.toy.billed == 0, "delivered again while it waits, it is no further try"
    await bench.runner(spec=LOCAL).execute(await bench.wake())
    assert (await bench.job())["state"] == "done"


async def test_a_command_is_handed_over_as_it_is_with_its_way_past_a_gate(bench: Bench) -> None:
    command = await asked_anew(bench, datetime.now(UTC))
    headers = {"traceparent": b"00-1-2-01", GATE_HEADER: b"budget:default"}
    await bench.database.execute(
        """
        INSERT INTO gates (stage, name, until, allowed, under_way, closings)
        VALUES ('summarize', 'budget:default', now(), 1, 1, 0)
        ON CONFLICT (stage, name) DO UPDATE SET allowed = 1, under_way = 1
        """
    )
    await bench.runner(hands_over=True).execute(replace(command, headers=headers))
    (message,) = handed_over(bench)
    began = str(place_of(command)).encode()
    assert (message.key, message.value) == (command.key, command.value)
    assert message.headers == {**headers, ROUND_HEADER: began}, "with the place of the command that began its round"
    gate = await bench.database.fetchrow("SELECT under_way FROM gates WHERE name = 'budget:default'")
    assert gate is not None
    assert gate["under_way"] == 1, "nobody has got through the gate yet"


async def test_a_cancelled_share_is_not_handed_over(bench: Bench) -> None:
    await queue(bench, "summarize")
    await cancelled(bench)
    await bench.runner(hands_over=True).execute(bench.message)
    assert handed_over(bench) == []


async def test_work_for_an_api_stays_where_it_is(bench: Bench) -> None:
    del bench.toy.plan  # the toy's own again
    await bench.runner(hands_over=True).execute(bench.message)
    assert (await bench.job())["state"] == "done"
    assert handed_over(bench) == []


@pytest.mark.parametrize("steps", [0, 1])
async def test_a_worker_that_dies_while_it_hands_over_does_so_again(bench: Bench, steps: int) -> None:
    bench.outbox.step = dies_after(steps)
    with pytest.raises(Died):
        await bench.runner(hands_over=True).execute(bench.message)
    bench.outbox.step = lambda: None
    await bench.runner(hands_over=True).execute(bench.message)
    messages = handed_over(bench)
    assert len(messages) == 1 + steps
    for message in messages:
        await bench.runner(spec=LOCAL).execute(message)
    assert (bench.toy.billed, len(bench.outbox.to("summary.ready"))) == (1, 1)
