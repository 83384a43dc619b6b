"""A replay that dies anywhere: nothing is left out, what is published again is the same, the rest follows."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from millrace.clock import ManualClock
from millrace.contracts.events import Event, ShareCreated, StageRequested
from millrace.contracts.headers import TRACE_HEADER, parse_traceparent
from millrace.contracts.wire import Codec
from millrace.errors import ConfigurationError, Poison
from millrace.ids import content_hash
from millrace.kafka.records import Message, Partition
from millrace.store.database import Database
from millrace.store.replays import ReplayRow, ReplayStore
from millrace.stream.reader import Reader
from millrace.stream.replay.replayer import BATCH, Replayer, Wish
from millrace.stream.replay.window import Stretch
from millrace.stream.stage import Plan, Prospect
from millrace.stream.writer import Writer
from millrace.testing.registry import codec_in_memory
from millrace.tracing.spans import BEFORE_HEADER
from tests.support.dying import Died, DyingDatabase, dies_after
from tests.support.outbox import Outbox
from tests.support.toy_stage import SPEC

WRITTEN = datetime(2026, 1, 1, tzinfo=UTC)
SHARES = 2 * BATCH + 5


def look(event: Event, options: Mapping[str, str]) -> Prospect | None:
    """A stage that cannot work on everything."""
    if not isinstance(event, ShareCreated) or event.text is None:
        return None
    if event.text == "impossible":
        raise Poison("never")
    if options.get("model") == "huge":
        raise Poison("there is no model huge here")
    plan = Plan(
        event, content_hash(event.text), options.get("model", "toy"), generation=options.get("generation", "")
    )
    return Prospect(plan, lambda: None)


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
HEADERS = {"h": b"1", TRACE_HEADER: TRACE.encode()}


class Records:
    """What Kafka keeps: one partition."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.messages: list[Message] = []

    def add(
        self, share: str, text: str | None, *, raw: bytes | None = None, created_at: datetime | None = None
    ) -> None:
        offset = len(self.messages)
        event = ShareCreated(
            share_id=share,
            owner="o",
            source_kind="text" if text else "upload",
            text=text,
            platform="web",
            content_type="article",
            created_at=created_at or WRITTEN + timedelta(seconds=offset),
        )
        value = self.codec.encode("share.created", event) if raw is None else raw
        self.messages.append(Message(Partition("share.created", 0), offset, share.encode(), value, HEADERS))

    @property
    def stretches(self) -> list[Stretch]:
        return [Stretch("share.created", 0, 0, len(self.messages), 0)]

    async def read(self, stretch: Stretch, start: int) -> AsyncIterator[list[Message]]:
        for first in range(start, stretch.stop, 7):
            yield self.messages[first : min(first + 7, stretch.stop)]


class Bench:
    """Replays over the real database."""

    def __init__(self, database: Database, codec: Codec) -> None:
        self.database, self.codec = database, codec
        self.records, self.outbox = Records(codec), Outbox()
        self.shares = [str(uuid.uuid4()) for _ in range(SHARES)]
        for share in self.shares:
            self.records.add(share, f"words of {share}")

    def replayer(self, database: Database | None = None) -> Replayer:
        def writer(at: datetime) -> Writer:
            return Writer(self.outbox, self.codec, ManualClock(at), source="test", partitions={})

        return Replayer(
            SPEC,
            look=look,
            store=ReplayStore(database or self.database),
            log_=self.records,
            reader=Reader(self.codec, SPEC.inputs),
            writer=writer,
            told=lambda _: None,
            rate=1e9,
        )

    async def commands(self) -> dict[str, list[StageRequested]]:
        found = defaultdict(list)
        for sent in self.outbox.to(SPEC.requested):
            command = await self.codec.decode(SPEC.requested, sent.value)
            assert isinstance(command, StageRequested)
            found[command.share_id].append(command)
        return found

    async def row(self, replay: ReplayRow) -> ReplayRow:
        found = await ReplayStore(self.database).get(replay.replay_id)
        assert found is not None
        return found


@pytest.fixture
async def bench(database: Database) -> Bench:
    return Bench(database, await codec_in_memory())


async def test_every_share_has_one_command_with_the_bytes_of_its_newest_event(bench: Bench) -> None:
    bench.records.add(bench.shares[3], "other words")
    found = await bench.replayer().find(bench.records.stretches, Wish(force=True))
    await bench.replayer().begin(found)
    commands = await bench.commands()
    assert set(commands) == set(bench.shares)
    assert {len(one) for one in commands.values()} == {1}
    (newest,) = commands[bench.shares[3]]
    assert newest.origin_value == bench.records.messages[-1].value
    assert (newest.origin_topic, newest.origin_headers, newest.reason) == ("share.created", HEADERS, "replay")
    assert (newest.force, newest.options) == (True, {"generation": found.replay.replay_id})
    row = await bench.row(found.replay)
    assert (row.published, row.finished_at is not None, row.running) == (SHARES, True, False)


async def test_a_replay_has_traces_of_its_own_that_link_to_the_old_ones_and_are_recorded_as_they_were(
    bench: Bench,
) -> None:
    await bench.replayer().begin(await bench.replayer().find(bench.records.stretches, Wish()))
    sent = [dict(one.headers) for one in bench.outbox.to(SPEC.requested)]
    assert {headers[BEFORE_HEADER] for headers in sent} == {TRACE.encode()}
    traces = {parse_traceparent(headers[TRACE_HEADER]) for headers in sent}
    assert len({trace and trace.trace_id for trace in traces} | {TRACE[3:35]}) == SHARES + 1
    assert not any(trace is None or trace.sampled for trace in traces)


async def test_dying_at_any_step_repeats_a_batch_at_most(bench: Bench) -> None:
    for number in (1, 2, 3, BATCH, BATCH + 3, 2 * BATCH + 4, 10_000):
        bench.outbox = Outbox()
        found = await bench.replayer().find(bench.records.stretches, Wish(force=True))
        bench.outbox.step = step = dies_after(number - 1)
        try:
            await bench.replayer(DyingDatabase(bench.database, step)).begin(found)
        except Died:
            pass
        else:
            assert number == 10_000
        bench.outbox.step = lambda: None
        row = await ReplayStore(bench.database).get(found.replay.replay_id)
        if row is not None:  # else it died before anything was written down or published
            await bench.replayer().resume(row)
        commands = await bench.commands()
        if row is None:
            assert commands == {}
            continue
        assert set(commands) == set(bench.shares)
        assert all(one == same[0] for same in commands.values() for one in same), "a repeat says the same"
        assert sum(map(len, commands.values())) <= SHARES + BATCH
        assert (await bench.row(found.replay)).finished_at is not None


async def test_all_commands_come_after_the_events_that_they_repeat(bench: Bench, database: Database) -> None:
    ahead = datetime.now(UTC) + timedelta(minutes=5)
    bench.records.add(bench.shares[0], "words from another clock", created_at=ahead)
    found = await bench.replayer().find(bench.records.stretches, Wish())
    assert ahead < found.replay.asked_at < ahead + timedelta(seconds=1)


async def test_what_cannot_be_worked_on_is_left_out_and_counted(bench: Bench) -> None:
    bench.records.add("broken", "x", raw=b"nonsense")
    bench.records.add("never", "impossible")
    bench.records.add("upload", None)
    found = await bench.replayer().find(bench.records.stretches, Wish())
    assert set(found.chosen.by_share) == set(bench.shares)
    assert (found.chosen.unreadable, found.chosen.impossible) == (1, 1)


async def test_a_model_that_the_stage_has_not_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="cannot do this: there is no model huge here"):
        await bench.replayer().find(bench.records.stretches, Wish(model="huge"))


async def test_a_replay_has_one_publisher(bench: Bench) -> None:
    found = await bench.replayer().find(bench.records.stretches, Wish(only=bench.shares[:1]))
    store = ReplayStore(bench.database)
    await store.begin(found.replay)
    async with store.sole_publisher(found.replay.replay_id):
        assert (await bench.row(found.replay)).running
        with pytest.raises(ConfigurationError, match="is running already"):
            await bench.replayer().resume(found.replay)
    await bench.replayer().resume(await bench.row(found.replay))
    assert set(await bench.commands()) == {bench.shares[0]}
