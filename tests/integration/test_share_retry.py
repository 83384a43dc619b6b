"""POST /shares/{id}/retry and /stages/{stage}: what is written for the stages, and that they take it."""

from __future__ import annotations

import uuid

import pytest

from millrace.contracts.dead import ROUND_HEADER
from millrace.contracts.events import MediaReady, ShareCreated, StageRequested, TranscriptReady
from millrace.errors import Poison
from millrace.kafka.records import Message, Partition
from millrace.store.database import Database
from millrace.stream.reader import Reader
from tests.integration.gateway import Gateway, finish_job
from tests.support.job_bench import Bench

MEDIA = {
    "blob_key": "temp/videos/2026/01/01/" + "a" * 64 + "-1767571200.mp4",
    "media_url": "file:///x",
    "sha256": "a" * 64,
    "size_bytes": 10,
    "duration_ms": 2000,
    "format": "mp4",
    "audio_codec": "aac",
    "title": "What the page calls it",
    "metadata": {"title": "What the file calls it"},
}
TRANSCRIPT = {"text": "Words.", "segments": [], "duration_ms": 2000, "billed_ms": 0, "backend": "local", "model": "m"}


async def shared(gateway: Gateway, **body: str) -> str:
    answer = await gateway.http.post("/shares", json=body or {"text": "Words."})
    return str(answer.json()["share_id"])


async def done(gateway: Gateway, share_id: str, stage: str, result: dict[str, object]) -> None:
    work_key = f"{stage}:{uuid.uuid4().hex}"
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, $2, $3, now())",
            work_key,
            stage,
            result,
        )
        await finish_job(connection, share_id, stage, work_key)


async def put(gateway: Gateway, share_id: str, **states: str) -> None:
    for stage, state in states.items():
        await gateway.pool.execute(
            "UPDATE jobs SET state = $3, attempt = 5, cancelled_at = CASE WHEN $3 = 'cancelled' THEN now() END "
            "WHERE share_id = $1 AND stage = $2",
            share_id,
            stage,
            state,
        )


async def commands(gateway: Gateway, share_id: str) -> dict[str, tuple[StageRequested, Message]]:
    """Commands in the outbox, by stage."""
    rows = await gateway.pool.fetch(
        "SELECT * FROM outbox WHERE key = $1 AND topic LIKE '%.requested' ORDER BY seq", share_id.encode()
    )
    found = {}
    for row in rows:
        event = await gateway.codec.decode(row["topic"], row["value"])
        assert isinstance(event, StageRequested)
        headers = {name: value.encode() for name, value in row["headers"].items()}
        found[event.stage] = (event, Message(Partition(row["topic"], 0), 0, row["key"], row["value"], headers))
    return found


async def states_of(gateway: Gateway, share_id: str) -> dict[str, str]:
    rows = await gateway.pool.fetch("SELECT stage, state FROM jobs WHERE share_id = $1", share_id)
    return {row["stage"]: row["state"] for row in rows}


async def retried(gateway: Gateway, share_id: str) -> list[str]:
    answer = await gateway.http.post(f"/shares/{share_id}/retry")
    assert answer.status_code == 200, answer.text
    stages = answer.json()["stages"]
    assert isinstance(stages, list)
    return stages


async def test_a_cancelled_text_is_asked_for_again_with_what_was_shared(gateway: Gateway) -> None:
    share_id = await shared(gateway)
    await gateway.http.post(f"/shares/{share_id}/cancel")
    assert await retried(gateway, share_id) == ["summarize", "embed"]
    found = await commands(gateway, share_id)
    assert list(found) == ["summarize", "embed"]
    read = await Reader(gateway.codec, ["share.created", "transcript.ready"]).read(found["summarize"][1])
    assert isinstance(read.event, ShareCreated)
    assert (read.event.text, read.reason, read.round[:4]) == ("Words.", "api", "api:")
    row = await gateway.pool.fetchrow("SELECT state, attempt, cancelled_at FROM jobs WHERE share_id = $1", share_id)
    assert row is not None
    assert tuple(row) == ("queued", 0, None)
    assert await retried(gateway, share_id) == [], "it is under way already"
    assert len(await commands(gateway, share_id)) == 2


async def test_a_stage_gets_the_result_of_the_one_before_it(gateway: Gateway) -> None:
    share_id = await shared(gateway, url="https://example.org/a")
    await done(gateway, share_id, "media", MEDIA)
    await put(gateway, share_id, transcribe="failed")
    assert await retried(gateway, share_id) == ["transcribe"]
    found = await commands(gateway, share_id)
    assert list(found) == ["transcribe"]
    read = await Reader(gateway.codec, ["media.ready"]).read(found["transcribe"][1])
    assert isinstance(read.event, MediaReady)
    assert (read.event.sha256, read.event.has_audio, read.event.has_video) == ("a" * 64, True, False)
    assert read.event.title == "What the page calls it"

    await done(gateway, share_id, "transcribe", TRANSCRIPT)
    await put(gateway, share_id, embed="failed")
    assert await retried(gateway, share_id) == ["embed"]
    read = await Reader(gateway.codec, ["transcript.ready"]).read((await commands(gateway, share_id))["embed"][1])
    assert isinstance(read.event, TranscriptReady)
    assert (read.event.text, read.event.title) == ("Words.", "What the page calls it")


async def test_stages_behind_one_that_is_tried_again_wait_for_it(gateway: Gateway) -> None:
    share_id = await shared(gateway, url="https://example.org/a")
    await put(gateway, share_id, media="failed", transcribe="failed", summarize="cancelled")
    assert await retried(gateway, share_id) == ["media", "transcribe", "summarize"]
    assert list(await commands(gateway, share_id)) == ["media"]
    states = await gateway.pool.fetch("SELECT DISTINCT state FROM jobs WHERE share_id = $1", share_id)
    assert [row["state"] for row in states] == ["queued"]


async def test_a_stage_that_others_have_added_keeps_nothing_else_from_being_tried_again(gateway: Gateway) -> None:
    share_id = await shared(gateway)
    await gateway.pool.execute(
        "INSERT INTO jobs (share_id, stage, account, state, updated_at, owner) "
        "SELECT share_id, 'thumbnails', account, 'failed', now(), owner FROM shares WHERE share_id = $1",
        share_id,
    )
    alone = await gateway.http.post(f"/shares/{share_id}/retry")
    assert alone.status_code == 409
    assert "millrace replay thumbnails" in alone.json()["detail"]
    await put(gateway, share_id, embed="failed")
    answer = (await gateway.http.post(f"/shares/{share_id}/retry")).json()
    assert answer["stages"] == ["embed"]
    assert "millrace replay thumbnails" in answer["left"]["thumbnails"]
    assert await states_of(gateway, share_id) == {"summarize": "queued", "embed": "queued", "thumbnails": "failed"}


async def test_what_cannot_be_made_again_leaves_also_what_needs_it(gateway: Gateway) -> None:
    share_id = await shared(gateway, url="https://example.org/a")
    await done(gateway, share_id, "media", {**MEDIA, "duration_ms": "of another version"})
    await put(gateway, share_id, transcribe="failed", summarize="failed")
    answer = await gateway.http.post(f"/shares/{share_id}/retry")
    assert answer.status_code == 409
    assert "It needs transcribe" in answer.json()["detail"]
    assert (await states_of(gateway, share_id))["summarize"] == "failed"


async def test_a_stage_behind_another_gets_a_fresh_budget_of_calls_and_keeps_its_answers(gateway: Gateway) -> None:
    share_id = await shared(gateway, url="https://example.org/a")
    await put(gateway, share_id, media="failed", transcribe="failed")
    work_key = f"transcribe:{uuid.uuid4().hex}"
    await gateway.pool.execute("INSERT INTO work (work_key, stage) VALUES ($1, 'transcribe')", work_key)
    await gateway.pool.execute(
        "UPDATE jobs SET work_key = $2 WHERE share_id = $1 AND stage = 'transcribe'", share_id, work_key
    )
    states = ("answered", "unconfirmed", "released", "calling")
    for number, state in enumerate(states):
        await gateway.pool.execute(
            """
            INSERT INTO calls (request_id, work_key, call_no, attempt, account, scope, model, state, counted,
                               hold_micro_usd, share_id)
            VALUES ($1, $2, 0, $3, 'default', 'transcribe', 'm', $4, true, 1, $5)
            """,
            f"{work_key}.{number}",
            work_key,
            number,
            state,
            share_id,
        )
    assert await retried(gateway, share_id) == ["media", "transcribe"]
    rows = await gateway.pool.fetch(
        "SELECT state FROM calls WHERE work_key = $1 AND counted ORDER BY attempt", work_key
    )
    assert [row["state"] for row in rows] == ["answered", "calling"]


async def test_finished_stages_are_left_alone(gateway: Gateway) -> None:
    share_id = await shared(gateway)
    await put(gateway, share_id, summarize="done", embed="done")
    assert await retried(gateway, share_id) == []
    assert await commands(gateway, share_id) == {}


async def test_a_stage_is_asked_for_as_somebody_wants_it(gateway: Gateway) -> None:
    share_id = await shared(gateway)
    wished = {"backend": "local", "chunker": "fixed"}
    answer = await gateway.http.post(f"/shares/{share_id}/stages/embed", json={**wished, "force": True})
    assert (answer.status_code, answer.json()["stages"]) == (202, ["embed"])
    command, message = (await commands(gateway, share_id))["embed"]
    assert (command.options, command.force, command.reason) == (wished, True, "api")
    read = await Reader(gateway.codec, ["share.created"]).read(message)
    assert read.options == wished | {"generation": read.round}, "finished work is other work by that"


async def test_a_request_that_is_repeated_with_its_key_is_the_same_round(gateway: Gateway) -> None:
    share_id = await shared(gateway)
    rounds = []
    for key, wish in (("one", {"force": True}), ("one", {"force": True}), ("two", {"force": True}), ("one", {})):
        answer = await gateway.http.post(
            f"/shares/{share_id}/stages/embed", json=wish, headers={"idempotency-key": key}
        )
        assert answer.status_code == 202
        (row,) = await gateway.pool.fetch(
            "SELECT headers FROM outbox WHERE key = $1 ORDER BY seq DESC LIMIT 1", share_id.encode()
        )
        rounds.append(row["headers"][ROUND_HEADER])
    assert rounds[0] == rounds[1]
    assert len(set(rounds)) == 3
    for key in ("", "x" * 256):
        path = f"/shares/{share_id}/stages/embed"
        assert (await gateway.http.post(path, json={}, headers={"idempotency-key": key})).status_code == 422


async def test_what_gave_up_is_tried_again_as_it_was_asked_for(gateway: Gateway) -> None:
    share_id = await shared(gateway)
    await put(gateway, share_id, embed="failed")
    await gateway.pool.execute(
        """
        INSERT INTO dead_letters (id, topic, partition, "offset", stage, share_id, error, reason, attempts, died_at,
                                  options, key, value, headers, stack, service)
        VALUES ($1, 'embed.dead', 0, -1, 'embed', $1, 'Poison', 'no', 1, now(), $2, '', '', '{}', '', 'embed-agent')
        """,
        share_id,
        {"chunker": "fixed", "generation": "an-earlier-round"},
    )
    assert (await gateway.http.post(f"/shares/{share_id}/retry")).status_code == 200
    command, message = (await commands(gateway, share_id))["embed"]
    assert command.options == {"chunker": "fixed", "generation": "an-earlier-round"}
    read = await Reader(gateway.codec, ["share.created"]).read(message)
    assert read.options["generation"] == "an-earlier-round", "the work that some was paid for"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/shares/none/retry", None, 404),
        ("/shares/a%00b/retry", None, 404),
        ("/shares/a%00b/stages/embed", {}, 404),
        ("/shares/{}/stages/nothing", {}, 422),
        ("/shares/{}/stages/a%00b", {}, 422),
        ("/shares/{}/stages/media", {}, 404),
        ("/shares/{}/stages/embed", {"model": "a\0b"}, 422),
        ("/shares/{}/stages/embed", {"backend": "cloud"}, 422),
        ("/shares/{}/stages/embed", {"mode": "api"}, 422),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    gateway: Gateway, path: str, body: dict[str, str] | None, status: int
) -> None:
    share_id = await shared(gateway)
    answer = await gateway.http.post(path.format(share_id), json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await commands(gateway, share_id) == {}


async def test_a_stage_whose_input_is_not_there_says_so_and_strangers_get_nothing(gateway: Gateway) -> None:
    share_id = await shared(gateway, url="https://example.org/a")
    answer = await gateway.http.post(f"/shares/{share_id}/stages/transcribe", json={})
    assert answer.status_code == 409
    await put(gateway, share_id, media="failed")
    await gateway.pool.execute("UPDATE shares SET owner = 'a-stranger' WHERE share_id = $1", share_id)
    assert (await gateway.http.post(f"/shares/{share_id}/retry")).status_code == 404
    assert (await gateway.http.post(f"/shares/{share_id}/stages/media", json={})).status_code == 404
    assert await commands(gateway, share_id) == {}


async def test_a_stage_that_gave_up_takes_the_command_and_pays_once(gateway: Gateway) -> None:
    bench = Bench(Database(gateway.pool), gateway.codec)
    bench.share = await shared(gateway, text=f"Words {uuid.uuid4()}")
    (row,) = await gateway.pool.fetch("SELECT * FROM outbox WHERE key = $1", bench.share.encode())
    bench.toy.raises = [Poison("nobody can read this")]
    await bench.runner().execute(Message(Partition(row["topic"], 0), 0, row["key"], row["value"], {}))
    assert await states_of(gateway, bench.share) == {"summarize": "failed", "embed": "queued"}

    assert await retried(gateway, bench.share) == ["summarize"]
    _, command = (await commands(gateway, bench.share))["summarize"]
    for _ in range(2):  # the outbox may publish it twice
        await bench.runner().execute(command)
    assert await states_of(gateway, bench.share) == {"summarize": "done", "embed": "queued"}
    assert len(bench.outbox.to("summary.ready")) == 1
    assert len(bench.ledger.asked) == 1
