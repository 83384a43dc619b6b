"""Records of one job in any order and any number of times: each has its effect once, the latest wish stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.contracts.events import Event, RequestReason, ShareCreated, StageRequested
from millrace.contracts.headers import TIME_HEADER
from millrace.errors import Poison, Retryable
from millrace.kafka.records import Message, Partition
from millrace.store.database import Database
from millrace.stream.stage import Plan, Run
from millrace.testing.registry import codec_in_memory
from tests.support.job_bench import Bench
from tests.support.toy_stage import Text, Toy


class Choosing(Toy):
    """A stage whose model an option names."""

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[ShareCreated] | None:
        plan = super().plan(event, options)
        if options.get("model") == "none":
            raise Poison("there is no such model")
        return plan and replace(plan, model=options.get("model", plan.model))


class Told:
    """A share's records, as Kafka has them."""

    def __init__(self, bench: Bench) -> None:
        bench.toy = Choosing()
        self.bench = bench
        self.created = bench.message
        self.log = [self.created]

    async def reads(self, *messages: Message) -> None:
        for message in messages:
            await self.bench.runner().execute(message)

    def asks(self, minutes: int, *, reason: RequestReason = "api", **options: str) -> Message:
        """Somebody asks for the stage so long after the share came."""
        request = StageRequested(
            share_id=self.bench.share,
            stage="summarize",
            reason=reason,
            origin_topic="share.created",
            origin_value=self.created.value,
            options=options,
            requested_by="test",
            requested_at=datetime.now(UTC) + timedelta(minutes=minutes),
        )
        at = Partition("summarize.requested", 0)
        raw = self.bench.codec.encode("summarize.requested", request)
        message = Message(at, len(self.log), self.created.key, raw, {})
        self.log.append(message)
        return message

    async def told_later(self) -> Message:
        """Another event with a later time and the same words: they need the same work."""
        event = await self.bench.codec.decode("share.created", self.created.value)
        assert isinstance(event, ShareCreated)
        later = event.model_copy(update={"created_at": event.created_at + timedelta(minutes=1)})
        raw = self.bench.codec.encode("share.created", later)
        message = replace(self.created, offset=self.created.offset + 1, value=raw)
        self.log.append(message)
        return message

    async def woken(self) -> Message:
        """The command that the mover publishes."""
        (row,) = await self.bench.waiting()
        await self.bench.database.execute("DELETE FROM waiting WHERE share_id = $1", self.bench.share)
        headers = {name: text.encode() for name, text in row["headers"].items()}
        message = Message(Partition(row["topic"], 0), len(self.log), row["key"], row["value"], headers)
        self.log.append(message)
        return message

    async def stands(self) -> tuple[object, ...]:
        job = await self.bench.job()
        sent = self.bench.outbox
        return (
            dict(job),
            await self.bench.waiting(),
            self.bench.toy.billed,
            len(sent.to("summary.ready")),
            len(sent.to("summarize.dead")),
            len(sent.to("task.status")),
        )

    async def reading_all_again_changes_nothing(self) -> None:
        """Neither in the order of one topic nor of the other."""
        before = await self.stands()
        await self.reads(*self.log, *reversed(self.log))
        assert await self.stands() == before


@pytest.fixture
async def told(database: Database) -> Told:
    return Told(Bench(database, await codec_in_memory()))


async def test_an_event_that_was_answered_is_answered_once(told: Told) -> None:
    await told.reads(told.created)
    assert (await told.bench.job())["state"] == "done"
    await told.reading_all_again_changes_nothing()


async def test_a_later_event_that_needs_the_same_work_is_answered_already(told: Told) -> None:
    await told.reads(told.created)
    before = await told.stands()
    await told.reads(await told.told_later())
    assert await told.stands() == before
    await told.reading_all_again_changes_nothing()


async def test_a_later_event_that_needs_work_that_waits_is_no_further_try(told: Told) -> None:
    told.bench.toy.raises = [Retryable("busy"), Retryable("must not be seen")]
    await told.reads(told.created)
    before = await told.stands()
    await told.reads(await told.told_later())
    assert await told.stands() == before
    told.bench.toy.raises = []
    await told.reads(await told.woken())
    assert (await told.bench.job())["state"] == "done"
    await told.reading_all_again_changes_nothing()


async def test_a_failure_is_not_tried_again_and_is_one_dead_letter(told: Told) -> None:
    told.bench.toy.raises = [Poison("never"), Retryable("must not be seen")]
    await told.reads(told.created)
    assert (await told.bench.job())["state"] == "failed"
    await told.reading_all_again_changes_nothing()


async def test_what_no_plan_can_be_made_for_is_one_dead_letter(told: Told) -> None:
    await told.reads(told.created, told.asks(1, model="none"))
    assert (await told.bench.job())["reason"] == "there is no such model"
    await told.reading_all_again_changes_nothing()


async def test_the_latest_wish_stays_when_earlier_ones_are_read_again(told: Told) -> None:
    await told.reads(told.created, told.asks(1, model="large"), told.asks(2, model="small"))
    assert ((await told.bench.job())["model"], told.bench.toy.billed) == ("small", 3)
    await told.reading_all_again_changes_nothing()


async def test_a_wish_for_finished_work_is_answered_once_more_and_then_no_more(told: Told) -> None:
    await told.reads(told.created, told.asks(1))
    assert (len(told.bench.outbox.to("summary.ready")), told.bench.toy.billed) == (2, 1)
    await told.reading_all_again_changes_nothing()


async def test_a_result_told_again_has_the_time_of_the_first_telling(told: Told) -> None:
    await told.reads(told.created, told.asks(1), told.asks(2, model="large"), told.asks(3, model="large"))
    first, again, large, large_again = (one.headers[TIME_HEADER] for one in told.bench.outbox.to("summary.ready"))
    assert first == again < large == large_again


async def test_work_that_is_older_than_the_wish_comes_about_with_it(told: Told) -> None:
    await told.reads(told.created, told.asks(1, model="large"))
    back = told.asks(9)
    await told.reads(back)
    assert told.bench.toy.billed == 2, "the first work is there"
    command = await told.bench.codec.decode("summarize.requested", back.value)
    assert isinstance(command, StageRequested)
    last = told.bench.outbox.to("summary.ready")[-1].headers[TIME_HEADER].decode()
    assert datetime.fromisoformat(last) == command.requested_at


async def test_old_wake_up_calls_are_no_further_tries(told: Told) -> None:
    told.bench.toy.raises = [Retryable("busy"), Retryable("busy")]
    await told.reads(told.created)
    await told.reads(await told.woken())
    assert ((await told.bench.job())["attempt"], (await told.bench.job())["state"]) == (2, "waiting")
    await told.reading_all_again_changes_nothing()
    await told.reads(await told.woken())
    assert (await told.bench.job())["state"] == "done"
    await told.reading_all_again_changes_nothing()


async def test_work_that_waits_gives_way_to_a_later_wish(told: Told) -> None:
    told.bench.toy.raises = [Retryable("busy")]
    await told.reads(told.created)
    wake = await told.woken()
    await told.reads(told.asks(1, model="large"), wake)
    assert ((await told.bench.job())["model"], told.bench.toy.billed) == ("large", 1)
    await told.reading_all_again_changes_nothing()


async def test_a_worker_whose_clock_is_behind_loses_no_waiting_work(told: Told) -> None:
    told.bench.toy.raises = [Retryable("busy"), Retryable("busy")]
    await told.reads(told.created)
    ahead = timedelta(hours=1)
    await told.bench.database.execute(
        "UPDATE jobs SET waited_at = waited_at + $2 WHERE share_id = $1", told.bench.share, ahead
    )
    wake = await told.woken()
    waited = datetime.fromisoformat(wake.headers["millrace-waited-at"].decode()) + ahead
    told.log[-1] = wake = replace(wake, headers={**wake.headers, "millrace-waited-at": waited.isoformat().encode()})
    await told.reads(wake)
    assert len(await told.bench.waiting()) == 1
    await told.reading_all_again_changes_nothing()


async def test_a_crash_in_the_middle_lets_the_same_record_go_on(told: Told) -> None:
    await told.reads(told.created)
    asked = told.asks(1, model="large")
    command = await told.bench.codec.decode("summarize.requested", asked.value)
    assert isinstance(command, StageRequested)
    await told.bench.database.execute(
        "UPDATE jobs SET state = 'running', published = false, asked_at = $2 WHERE share_id = $1",
        told.bench.share,
        command.requested_at,
    )
    await told.reads(told.created)
    assert told.bench.toy.billed == 1, "its turn is over"
    await told.reads(asked)
    assert ((await told.bench.job())["state"], told.bench.toy.billed) == ("done", 2)


async def test_who_ends_after_a_later_wish_was_fulfilled_does_not_undo_it(told: Told) -> None:
    toy, later = told.bench.toy, told.asks(1, model="other")

    async def slowly(plan: Plan[ShareCreated], run: Run) -> Text:
        toy.work = working  # type: ignore[method-assign]  # another worker is as fast as usual
        await told.reads(later)
        return await working(plan, run)

    working = toy.work
    toy.work = slowly  # type: ignore[method-assign]  # the event's worker stands still meanwhile
    await told.reads(told.created)
    job = await told.bench.job()
    assert (job["state"], job["model"]) == ("done", "other")
    await told.reading_all_again_changes_nothing()
