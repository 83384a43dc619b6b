"""Records that nobody of ours wrote, or that a fault of ours stumbles over: no worker ends because of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from millrace.contracts.dead import Place, read
from millrace.contracts.events import ShareCreated, TaskStatus
from millrace.errors import Poison
from millrace.kafka.records import Message, Partition
from millrace.store.ask import Ask
from millrace.store.cancel import cancel
from millrace.store.work import Mine, WorkStore
from millrace.stream.reader import LONGEST_ID
from millrace.stream.turns import turn_of_headers
from tests.support.job_bench import Bench
from tests.support.outbox import Outbox, Sent

pytestmark = pytest.mark.timeout(60)


class Small(Outbox):
    """Topics of dead letters take little."""

    async def send(self, topic: str, **message: object) -> None:
        value = message["value"]
        assert isinstance(value, bytes)
        if topic.endswith(".dead") and len(value) > 100:
            raise Poison("larger than the topic takes")
        await super().send(topic, **message)  # type: ignore[arg-type]


def letter(bench: Bench) -> tuple[Sent, str, bytes]:
    """The only dead letter: as it was sent, its reason, its value."""
    (sent,) = bench.outbox.to("summarize.dead")
    found = read(Place("summarize.dead", 0, 0), sent.key, sent.value, sent.headers.items(), datetime.now(UTC))
    return sent, found.reason, found.value


def share(share_id: str, account: str = "default") -> ShareCreated:
    return ShareCreated(
        share_id=share_id,
        account=account,
        owner="o",
        source_kind="text",
        text="some words",
        platform="web",
        content_type="article",
        created_at=datetime.now(UTC),
    )


async def test_a_message_that_is_too_large_for_a_dead_letter_is_named_by_its_place(bench: Bench) -> None:
    bench.outbox = Small()
    message = Message(Partition("share.created", 3), 17, b"k" * 5000, b"\x07" * 5_000_000, {"h": b"x"})
    await bench.runner().execute(message)
    sent, reason, value = letter(bench)
    assert "see share.created-3@17" in reason
    assert (value, sent.key) == (b"", b"")
    await bench.runner().execute(message)
    first, again = (one.headers["millrace-dead-letter"] for one in bench.outbox.to("summarize.dead"))
    assert first == again


@pytest.mark.parametrize("odd", ["x" * (LONGEST_ID + 1), "a|b", "a\nb", "a\0b", ""])
@pytest.mark.parametrize("which", ["share_id", "account"])
async def test_an_id_that_a_table_or_the_ledger_would_refuse_is_a_dead_letter(
    bench: Bench, odd: str, which: str
) -> None:
    event = share("s", "a").model_copy(update={which: odd})
    message = Message(Partition("share.created", 0), 1, b"k", bench.codec.encode("share.created", event), {})
    await bench.runner().execute(message)
    assert "printable characters" in letter(bench)[1]


@pytest.mark.parametrize(
    "time", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59+00:00"]
)
async def test_a_time_at_the_edge_of_the_calendar_is_no_time(bench: Bench, time: str) -> None:
    assert turn_of_headers({"millrace-asked-at": time.encode()}) is None
    turn = turn_of_headers({"millrace-asked-at": b"2026-01-01T00:00:00+00:00", "millrace-waited-at": time.encode()})
    assert turn is not None
    turn.after_waiting(datetime.now(UTC))


async def test_what_nobody_foresaw_beside_the_work_is_a_dead_letter_and_not_the_end_of_every_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: WorkStore, status: TaskStatus, ask: Ask) -> Mine | None:
        raise ValueError("secret internals")

    monkeypatch.setattr(WorkStore, "take_up", broken)
    await bench.runner().execute(bench.message)
    _, reason, value = letter(bench)
    assert (reason, value) == ("an unexpected ValueError beside its work", bench.message.value)
    assert (await bench.job())["state"] == "failed"


async def test_a_cancelled_job_whose_command_is_too_large_still_ends(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.runner().execute(bench.message)
    await bench.database.execute(
        "UPDATE jobs SET state = 'running', published = false WHERE share_id = $1", bench.share
    )
    await bench.database.execute(
        "UPDATE work SET result = NULL, finished_at = NULL, lease_until = now() + interval '1 h' FROM jobs "
        "WHERE jobs.work_key = work.work_key AND share_id = $1",
        bench.share,
    )
    await bench.database.execute("UPDATE calls SET state = 'calling' WHERE share_id = $1", bench.share)
    await bench.database.execute("UPDATE jobs SET asked_at = NULL WHERE share_id = $1", bench.share)
    await bench.database.transaction(lambda connection: cancel(connection, bench.share))
    runner = bench.runner()

    def too_large(*_: object) -> bytes:
        raise Poison("larger than its topic takes")

    monkeypatch.setattr(runner._core.writer, "command", too_large)
    await runner.execute(bench.message)
    assert (await bench.job())["state"] == "failed"


async def test_a_job_whose_message_cannot_be_read_is_told_to_have_failed(bench: Bench) -> None:
    await bench.database.execute(
        "INSERT INTO jobs (share_id, stage, account, state) VALUES ($1, 'summarize', 'default', 'queued')",
        bench.share,
    )
    await bench.runner().execute(Message(Partition("share.created", 0), 5, bench.share.encode(), b"no avro", {}))
    (sent,) = bench.outbox.to("task.status")
    status = await bench.codec.decode("task.status", sent.value)
    assert isinstance(status, TaskStatus)
    assert (status.share_id, status.state) == (bench.share, "failed")


async def test_a_result_of_another_version_is_said_to_be_one_and_is_not_quoted(bench: Bench) -> None:
    await bench.runner().execute(bench.message)
    await bench.database.execute(
        "UPDATE work SET result = $2 FROM jobs WHERE jobs.work_key = work.work_key AND share_id = $1",
        bench.share,
        {"words": "private"},
    )
    other = Bench(bench.database, bench.codec)
    event = await bench.codec.decode("share.created", bench.message.value)
    raw = bench.codec.encode("share.created", event.model_copy(update={"share_id": other.share}))
    await other.runner().execute(Message(Partition("share.created", 0), 9, b"k", raw, {}))
    sent, reason, _ = letter(other)
    assert "replay the share with --force" in reason
    assert b"private" not in b"".join(sent.headers.values())
    assert json.dumps("private") not in str(await other.job())
