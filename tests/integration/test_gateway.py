"""The gateway against the real Kafka, registry and PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import asyncpg
import httpx
import pytest
from confluent_kafka import Message

from millrace.contracts.api import Problem
from millrace.contracts.events import ShareCreated
from millrace.contracts.partitions import partition_for
from millrace.contracts.search_api import SearchAnswer
from millrace.contracts.share_api import ShareView
from millrace.errors import Refusal
from millrace.money import MicroUSD
from services.api_gateway.app import create_app
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.outbox import Drainer, drain_once, lag
from services.api_gateway.ports import OutboxRow
from tests.integration.gateway import (
    MAX_UPLOAD,
    Gateway,
    add_chunks,
    finish_job,
    published,
    published_all,
)
from tests.support.waiting import eventually


async def share_text(gateway: Gateway, text: str = "Some words.", **fields: str) -> str:
    response = await gateway.http.post("/shares", json={"text": text, **fields})
    assert response.status_code == 202, response.text
    share_id = response.json()["share_id"]
    assert isinstance(share_id, str)
    return share_id


async def drain(gateway: Gateway) -> None:
    async with gateway.pool.acquire() as connection:
        while (await drain_once(connection, gateway.parts.publisher))[0]:
            pass


async def stages_of(gateway: Gateway, share_id: str) -> dict[str, str]:
    rows = await gateway.pool.fetch("SELECT stage, state FROM jobs WHERE share_id = $1", share_id)
    return {row["stage"]: row["state"] for row in rows}


def headers_of(message: Message) -> dict[str, str]:
    pairs = cast("list[tuple[str, bytes]]", message.headers() or [])
    return {name: value.decode() for name, value in pairs}


def problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = Problem.model_validate(response.json())
    assert document.status == status
    return document.detail


async def test_a_text_becomes_a_row_jobs_and_an_event_with_headers(gateway: Gateway) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    response = await gateway.http.post(
        "/shares",
        json={"text": "Grüße aus Zürich", "title": "Hi", "tags": ["a", "b"]},
        headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
    )
    assert response.status_code == 202
    share_id = response.json()["share_id"]
    assert response.headers["location"] == f"/shares/{share_id}"
    assert response.json()["stages"] == ["summarize", "embed"]
    assert await stages_of(gateway, share_id) == {"summarize": "queued", "embed": "queued"}
    await drain(gateway)

    (message,) = await published(gateway.kafka, share_id)
    event = await gateway.codec.decode("share.created", message.value() or b"")
    assert isinstance(event, ShareCreated)
    assert (event.share_id, event.text, event.title, event.tags) == (share_id, "Grüße aus Zürich", "Hi", ["a", "b"])
    headers = headers_of(message)
    assert headers["ce_type"] == "io.millrace.share.created"
    assert headers["ce_subject"] == share_id
    assert headers["traceparent"].split("-")[1] == trace
    assert message.partition() == partition_for(share_id, 4), "librdkafka must partition as Java and Faust do"


async def test_an_upload_is_stored_once_by_its_content_and_needs_all_stages(gateway: Gateway, tmp_path: Path) -> None:
    content = uuid.uuid4().bytes * 100_000
    files = {"file": ("../../Ein Gespräch.WAV", content, "audio/wav")}
    first = await gateway.http.post("/shares", files=files, data={"title": "Talk", "tags": "x, y"})
    second = await gateway.http.post("/shares", files=files)
    assert (first.status_code, second.status_code) == (202, 202)
    sha256 = hashlib.sha256(content).hexdigest()
    row = await gateway.pool.fetchrow("SELECT * FROM shares WHERE share_id = $1", first.json()["share_id"])
    assert row is not None
    assert row["blob_key"] == f"uploads/{sha256[:2]}/{sha256}.wav"
    assert (row["filename"], row["content_type"], row["tags"]) == ("Ein Gespräch.WAV", "audio", ["x", "y"])
    assert await gateway.parts.blobs.read(row["blob_key"]) == content
    assert first.json()["share_id"] != second.json()["share_id"]
    assert set(await stages_of(gateway, first.json()["share_id"])) == {"media", "transcribe", "summarize", "embed"}
    left = await asyncio.to_thread(lambda: [p for p in tmp_path.rglob("*") if p.is_file()])
    assert len(left) == 1, "one blob, and no temporary file"


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"text": "x" * 10_000_000}, 413, "10.0 MB of text is more than the 512 KiB that a text share may have"),
        ({"text": "x" * 600_000}, 413, "600.0 kB of text is more than the 512 KiB"),
        ({"text": ""}, 422, "The text is empty"),
        ({}, 422, "exactly one of url, text and file, but none of them"),
        ({"url": "https://example.org/a", "text": "b"}, 422, "but url and text was sent"),
        ({"url": "file:///etc/passwd"}, 422, "Only http and https"),
        ({"text": "a", "titel": "b"}, 422, "no field titel"),
        ({"text": "a", "account": "a|b"}, 422, "The field account is not valid"),
        ({"text": 5}, 422, "The field text is not valid"),
        ([], 422, "a JSON object"),
    ],
)
async def test_a_bad_share_is_one_clear_sentence_and_leaves_nothing(
    gateway: Gateway, body: object, status: int, sentence: str
) -> None:
    assert sentence in problem(await gateway.http.post("/shares", json=body), status)
    assert await gateway.pool.fetchval("SELECT count(*) FROM shares WHERE owner = $1", gateway.parts.owner) == 0


async def test_bodies_that_cannot_be_read_are_refused(gateway: Gateway) -> None:
    json = {"content-type": "application/json"}
    assert "not JSON" in problem(await gateway.http.post("/shares", content=b"{", headers=json), 400)
    assert "multipart" in problem(await gateway.http.post("/shares", content=b"x"), 415)
    assert len(problem(await gateway.http.post("/shares", json={"k" * 100_000: "a"}), 422)) < 200
    empty = {"file": ("a.mp4", b"")}
    assert "file is empty" in problem(await gateway.http.post("/shares", files=empty), 422)
    large = {"file": ("a.mp4", b"x" * (MAX_UPLOAD + 1))}
    assert "larger than the 3 MB" in problem(await gateway.http.post("/shares", files=large), 413)


async def test_three_bytes_of_text_are_a_share(gateway: Gateway) -> None:
    assert await stages_of(gateway, await share_text(gateway, "abc")) == {"summarize": "queued", "embed": "queued"}


async def test_a_repeated_idempotency_key_is_the_same_share_also_when_sent_at_once(gateway: Gateway) -> None:
    headers = {"idempotency-key": uuid.uuid4().hex}

    async def send(text: str) -> httpx.Response:
        return await gateway.http.post("/shares", json={"text": text}, headers=headers)

    answers = await asyncio.gather(*(send("once") for _ in range(5)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["share_id"] for answer in answers}) == 1
    assert sorted(answer.json()["repeated"] for answer in answers) == [False, True, True, True, True]
    count = "SELECT count(*) FROM shares WHERE owner = $1"
    assert await gateway.pool.fetchval(count, gateway.parts.owner) == 1
    assert "another share" in problem(await send("something else"), 422)


class DyingPublisher:
    """The process dies after Kafka has the messages and before anybody knows."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def publish(self, rows: Sequence[OutboxRow]) -> Sequence[str | None]:
        await self._gateway.parts.publisher.publish(rows)
        raise KeyboardInterrupt


async def test_a_share_outlives_a_crash_between_its_commit_and_its_confirmation(gateway: Gateway) -> None:
    share_id = await share_text(gateway)
    connection = await gateway.pool.acquire()
    with pytest.raises(KeyboardInterrupt):
        await drain_once(connection, DyingPublisher(gateway))
    await gateway.pool.release(connection)
    assert (await lag(gateway.pool)).messages >= 1
    await drain(gateway)
    messages = await published(gateway.kafka, share_id)
    assert len(messages) == 2
    assert len({headers_of(message)["ce_id"] for message in messages}) == 1, "a repeat can be recognised"
    assert (await lag(gateway.pool)).messages == 0


@asynccontextmanager
async def draining(drainer: Drainer) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(drainer.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


class AwayThenBack:
    """Kafka is away for the first rounds."""

    def __init__(self, gateway: Gateway, rounds: int) -> None:
        self._gateway = gateway
        self.left = rounds

    @property
    def failing(self) -> bool:
        return self.left > 0

    async def opened(self) -> None:
        """It may always be tried."""

    async def publish(self, rows: Sequence[OutboxRow]) -> Sequence[str | None]:
        if self.left:
            self.left -= 1
            return ["timed out"] * len(rows)
        return await self._gateway.parts.publisher.publish(rows)


async def test_the_drainer_keeps_rows_while_kafka_is_away_and_stops_cleanly(gateway: Gateway) -> None:
    publisher = AwayThenBack(gateway, rounds=2)
    drainer = Drainer(gateway.pool, publisher, publisher, jitter=lambda: 0.0)
    async with draining(drainer) as running:
        share_id = await share_text(gateway)
        drainer.wake()
        assert len(await published(gateway.kafka, share_id)) == 1
        assert publisher.left == 0
        drainer.stop()
        await asyncio.wait_for(running, 5)


class RefusesATopic:
    """Kafka takes all but what is of one topic; `sent` are the keys of that, in the order in which they came."""

    failing = False

    def __init__(self, gateway: Gateway, topic: str) -> None:
        self._gateway = gateway
        self._topic = topic
        self.sent: list[bytes | None] = []

    async def opened(self) -> None:
        """It may always be tried."""

    async def publish(self, rows: Sequence[OutboxRow]) -> Sequence[str | None]:
        self.sent += [row.key for row in rows if row.topic == self._topic]
        outcomes = await self._gateway.parts.publisher.publish([row for row in rows if row.topic != self._topic])
        taken = iter(outcomes)
        return ["refused" if row.topic == self._topic else next(taken) for row in rows]


async def test_however_many_rows_are_refused_others_leave_and_nothing_overtakes_its_own_key(gateway: Gateway) -> None:
    topic, refused = uuid.uuid4().hex, [b"%d" % number for number in range(450)]
    insert = "INSERT INTO outbox (topic, key, value, headers) VALUES ($1, $2, 'x', '{}')"
    await gateway.pool.executemany(insert, [(topic, key) for key in refused])
    publisher = RefusesATopic(gateway, topic)
    drainer = Drainer(gateway.pool, publisher, publisher, jitter=lambda: 0.0)
    try:
        share_id = await share_text(gateway)
        await gateway.pool.executemany(insert, [(topic, key) for key in refused[:200]])
        async with draining(drainer):
            assert len(await published(gateway.kafka, share_id)) == 1
            await eventually(lambda: len(publisher.sent) >= 900, "the next pass")
        assert set(publisher.sent[:450]) == set(refused), "a key is not tried again behind its own refusal"
        assert publisher.sent[450:452] == refused[:2], "the next pass begins with the oldest"
        left = "SELECT count(*) FROM outbox WHERE topic = $1"
        assert await gateway.pool.fetchval(left, topic) == 650
    finally:
        await gateway.pool.execute("DELETE FROM outbox WHERE topic = $1", topic)


async def until_one_drains(gateway: Gateway) -> None:
    sql = """
    SELECT count(*) = 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database
     WHERE locktype = 'advisory' AND datname = current_database()
    """
    await eventually(lambda: gateway.pool.fetchval(sql), "one to drain", 5)


async def test_only_one_of_two_drainers_publishes_and_the_other_takes_over(gateway: Gateway) -> None:
    first, second = (Drainer(gateway.pool, gateway.parts.publisher, gateway.parts.publisher) for _ in range(2))
    async with draining(first) as running:
        await until_one_drains(gateway)
        async with draining(second):
            ids = [await share_text(gateway, f"Text {n}") for n in range(5)]
            first.wake()
            second.wake()
            assert [len(messages) for messages in (await published_all(gateway.kafka, ids)).values()] == [1] * 5
            first.stop()
            await asyncio.wait_for(running, 5)
            late = await share_text(gateway)
            assert len(await published(gateway.kafka, late)) == 1


async def test_a_broker_that_does_not_answer_is_told_apart_row_by_row(gateway: Gateway) -> None:
    rows = [OutboxRow(1, "media.dead", b"k", b"v", {}), OutboxRow(2, "no.such.topic", b"k", b"v", {})]
    outcomes = await gateway.parts.publisher.publish(rows)
    assert outcomes[0] is None
    assert outcomes[1]


async def test_a_share_shows_stages_results_and_receipts(gateway: Gateway) -> None:
    text = "Ask not what your country can do for you."
    first, second = await share_text(gateway, text), await share_text(gateway, text, title="Again")
    work_key = f"summarize:{uuid.uuid4().hex}"
    result = {"source": "text", "summary": "A question.", "key_points": ["k"], "backend": "extractive", "model": "m"}
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            """
            INSERT INTO work (work_key, stage, result, finished_at, cost_micro_usd)
            VALUES ($1, 'summarize', $2, now(), 40)
            """,
            work_key,
            result,
        )
        await connection.execute(
            """
            INSERT INTO calls (request_id, work_key, call_no, attempt, account, scope, share_id, model, state,
                               hold_micro_usd, actual_micro_usd, created_at, reason)
            VALUES ($1 || '1', $2, 0, 1, 'default', 'summarize', $3, 'm', 'denied', 90, NULL, now(), 'hour'),
                   ($1 || '2', $2, 0, 2, 'default', 'summarize', $3, 'm', 'settled', 90, 40, now(), NULL)
            """,
            work_key,
            work_key,
            first,
        )
        for share_id in (first, second):
            await finish_job(connection, share_id, "summarize", work_key)
        await connection.execute(
            "UPDATE jobs SET cost_micro_usd = 40 WHERE share_id = $1 AND stage = 'summarize'", first
        )
        await connection.execute(
            """
            UPDATE jobs SET state = 'parked', cap = 'day:embed', needed_micro_usd = 5, left_micro_usd = 1,
                            resume_at = '2030-01-02T00:00Z' WHERE share_id = $1 AND stage = 'embed'
            """,
            second,
        )

    view = ShareView.model_validate((await gateway.http.get(f"/shares/{first}")).json())
    assert (view.state, view.cost_micro_usd) == ("running", 40)
    assert view.summary is not None
    assert (view.summary.summary, view.summary.backend) == ("A question.", "extractive")
    assert view.transcript is None
    assert [(r.stage, r.state, r.hold_micro_usd, r.actual_micro_usd, r.reused) for r in view.receipts] == [
        ("summarize", "denied", 90, None, False),
        ("summarize", "settled", 90, 40, False),
    ]

    again = ShareView.model_validate((await gateway.http.get(f"/shares/{second}")).json())
    assert (again.state, again.cost_micro_usd, again.title) == ("parked", 0, "Again")
    assert [receipt.reused for receipt in again.receipts] == [True, True]
    embed = again.stages[-1]
    assert (embed.cap, embed.needed_micro_usd, embed.left_micro_usd) == ("day:embed", 5, 1)
    assert embed.resume_at == datetime(2030, 1, 2, tzinfo=UTC)


async def test_a_transcript_shows_its_segments_and_why_later_stages_wait(gateway: Gateway) -> None:
    response = await gateway.http.post("/shares", json={"url": "https://example.org/speech.mp3"})
    share_id = response.json()["share_id"]
    work_key = f"transcribe:{uuid.uuid4().hex}"
    segment = {"start_ms": 300, "end_ms": 2100, "text": "Ask not", "words": None}
    result = {
        "text": "Ask not",
        "segments": [segment],
        "language": "en",
        "duration_ms": 11_000,
        "billed_ms": 9_000,
        "backend": "local",
        "model": "tiny.en",
        "segments_ref": None,
        "skipped_reason": None,
    }
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, result, finished_at) VALUES ($1, 'transcribe', $2, now())",
            work_key,
            result,
        )
        await finish_job(connection, share_id, "transcribe", work_key)
    view = ShareView.model_validate((await gateway.http.get(f"/shares/{share_id}")).json())
    assert view.transcript is not None
    assert (view.transcript.text, view.transcript.language, view.transcript.model) == ("Ask not", "en", "tiny.en")
    assert (view.transcript.segments[0].start_ms, view.transcript.segments[0].text) == (300, "Ask not")
    assert [stage.stage for stage in view.stages] == ["media", "transcribe", "summarize", "embed"]

    await gateway.pool.execute("UPDATE jobs SET state = 'failed' WHERE share_id = $1 AND stage = 'media'", share_id)
    failed = ShareView.model_validate((await gateway.http.get(f"/shares/{share_id}")).json())
    assert failed.state == "failed"
    assert failed.stages[2].reason == "needs media, which failed"


async def test_a_share_of_somebody_else_does_not_exist(gateway: Gateway) -> None:
    share_id = await share_text(gateway)
    await gateway.pool.execute("UPDATE shares SET owner = 'somebody' WHERE share_id = $1", share_id)
    assert "no share with this id" in problem(await gateway.http.get(f"/shares/{share_id}"), 404)
    for unknown in ("unknown", "a%00b", "%ff%fe"):
        assert "no share with this id" in problem(await gateway.http.get(f"/shares/{unknown}"), 404)


async def test_a_cancel_says_for_each_stage_what_it_has_come_to_and_may_be_repeated(gateway: Gateway) -> None:
    response = await gateway.http.post("/shares", json={"url": "https://media.example.org/talk.mp4"})
    share_id = response.json()["share_id"]
    await gateway.pool.execute("UPDATE jobs SET state = 'done' WHERE share_id = $1 AND stage = 'media'", share_id)
    await gateway.pool.execute(
        "UPDATE jobs SET state = 'running' WHERE share_id = $1 AND stage = 'transcribe'", share_id
    )
    for _ in range(2):
        answer = await gateway.http.post(f"/shares/{share_id}/cancel")
        assert answer.status_code == 200
        assert answer.json()["stages"] == [
            {"stage": "media", "state": "done", "outcome": "over"},
            {"stage": "transcribe", "state": "running", "outcome": "stopping"},
            {"stage": "summarize", "state": "cancelled", "outcome": "cancelled"},
            {"stage": "embed", "state": "cancelled", "outcome": "cancelled"},
        ]
        view = ShareView.model_validate((await gateway.http.get(f"/shares/{share_id}")).json())
        assert (view.state, view.stages[1].reason) == ("running", "is being cancelled")
        assert view.stages[2].reason == "cancelled before it began"
    await gateway.pool.execute(
        "UPDATE jobs SET state = 'cancelled' WHERE share_id = $1 AND state = 'running'", share_id
    )
    assert (await gateway.http.get(f"/shares/{share_id}")).json()["state"] == "cancelled"


async def test_only_a_share_of_ones_own_can_be_cancelled(gateway: Gateway) -> None:
    share_id = await share_text(gateway)
    await gateway.pool.execute("UPDATE shares SET owner = 'somebody' WHERE share_id = $1", share_id)
    for other in (share_id, "unknown", "a%00b"):
        assert "no share with this id" in problem(await gateway.http.post(f"/shares/{other}/cancel"), 404)
    assert set((await stages_of(gateway, share_id)).values()) == {"queued"}


SPEECH = [
    "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
    "Bake the bread for forty minutes until the crust is golden brown.",
    "The broker keeps every record of the log until its retention has passed.",
]


async def search(gateway: Gateway, q: str, **params: str | int) -> SearchAnswer:
    response = await gateway.http.get("/search", params={"q": q, **params})
    assert response.status_code == 200, response.text
    return SearchAnswer.model_validate(response.json())


async def test_search_finds_by_meaning_by_words_and_by_both(gateway: Gateway) -> None:
    share_id = await share_text(gateway, "Speech", title="Three things")
    await add_chunks(gateway, share_id, SPEECH)

    meant = await search(gateway, "how long does the loaf stay in the oven", mode="semantic", limit=1)
    assert (meant.hits[0].text, meant.hits[0].start_ms, meant.hits[0].end_ms) == (SPEECH[1], 10_000, 19_000)
    assert meant.hits[0].matched_by == ["semantic"]

    said = await search(gateway, '"your country" -bread', mode="keyword")
    assert [hit.text for hit in said.hits] == [SPEECH[0]]
    assert said.hits[0].title == "Three things"

    both = await search(gateway, "country")
    assert (both.mode, both.note) == ("hybrid", None)
    assert both.hits[0].text == SPEECH[0]
    assert both.hits[0].matched_by == ["semantic", "keyword"]
    assert len(gateway.ledger.ended) == 2, "a keyword search buys nothing"


async def test_search_answers_a_passage_once_and_never_from_others_or_unfinished_shares(gateway: Gateway) -> None:
    mine, theirs, unfinished = [await share_text(gateway, f"Speech {n}") for n in range(3)]
    work_key = await add_chunks(gateway, mine, SPEECH)
    await add_chunks(gateway, theirs, SPEECH)
    await add_chunks(gateway, unfinished, SPEECH)
    await gateway.pool.execute(
        """
        INSERT INTO chunks (work_key, chunk_no, embedding_type, model, content_hash, text, tokens)
        SELECT work_key, chunk_no, 'summary', model, content_hash, text, tokens
          FROM chunks WHERE work_key = $1
        """,
        work_key,
    )
    await gateway.pool.execute("UPDATE shares SET owner = 'somebody' WHERE share_id = $1", theirs)
    await gateway.pool.execute("DELETE FROM share_embeddings WHERE share_id = $1", unfinished)
    answer = await search(gateway, "country", limit=100)
    assert {hit.share_id for hit in answer.hits} == {mine}
    assert len({hit.text for hit in answer.hits}) == len(answer.hits)


async def test_vectors_of_another_model_are_not_compared(gateway: Gateway) -> None:
    share_id = await share_text(gateway)
    await add_chunks(gateway, share_id, SPEECH, model="another-model")
    answer = await search(gateway, "loaf in the oven", mode="semantic")
    assert answer.mode == "keyword"
    assert "cannot embed the query as some shares were" in (answer.note or "")
    assert {tuple(hit.matched_by) for hit in answer.hits} == {("keyword",)}
    assert gateway.ledger.ended == {}, "nothing is bought for what cannot be compared"


async def test_a_chunk_without_meaning_is_not_nearest_to_everything(gateway: Gateway) -> None:
    share_id = await share_text(gateway)
    await add_chunks(gateway, share_id, SPEECH[:2])
    nothing = f"[{','.join('0' * 256)}]"
    sql = "UPDATE embeddings SET embedding = $2::text::halfvec WHERE content_hash = md5($1)"
    await gateway.pool.execute(sql, SPEECH[1], nothing)
    assert [hit.text for hit in (await search(gateway, "country", mode="semantic")).hits] == [SPEECH[0]]


async def test_what_is_said_again_and_again_hides_nothing_else(gateway: Gateway) -> None:
    again, once = await share_text(gateway, "Again"), await share_text(gateway, "Once")
    await add_chunks(gateway, again, ["thanks for watching this answer"] * 600)
    await add_chunks(gateway, once, ["an answer that is given once"])
    for mode in ("semantic", "keyword"):
        found = [hit.share_id for hit in (await search(gateway, "answer", mode=mode)).hits]
        assert sorted(found) == sorted([again, once]), mode


async def test_chunks_without_meaning_push_nothing_out(gateway: Gateway) -> None:
    await add_chunks(gateway, await share_text(gateway), [f"{SPEECH[1]} {n}" for n in range(120)])
    nothing = f"[{','.join('0' * 256)}]"
    sql = (
        "UPDATE embeddings e SET embedding = $1::text::halfvec FROM chunks c "
        "WHERE c.content_hash = e.content_hash AND c.text LIKE $2"
    )
    await gateway.pool.execute(sql, nothing, f"{SPEECH[1]} %")
    await add_chunks(gateway, await share_text(gateway, "With"), SPEECH[:1])
    assert [hit.text for hit in (await search(gateway, "country", mode="semantic")).hits] == [SPEECH[0]]


async def test_hyphens_and_apostrophes_ask_for_no_phrase(gateway: Gateway) -> None:
    await add_chunks(gateway, await share_text(gateway), SPEECH)
    for question in ("what's my country-wide duty", "don't ask the country"):
        assert (await search(gateway, question, mode="keyword")).hits[0].text == SPEECH[0], question


async def test_shares_about_the_same_are_found_by_what_they_say(gateway: Gateway) -> None:
    bread, loaf, broker, theirs = [await share_text(gateway, f"Text {n}") for n in range(4)]
    await add_chunks(gateway, bread, [SPEECH[1], *(f"{SPEECH[1]} Number {n}." for n in range(60))])
    await add_chunks(gateway, loaf, ["Put the loaf into the oven, and bake the bread until it is brown.", SPEECH[0]])
    await add_chunks(gateway, broker, [SPEECH[2]])
    await add_chunks(gateway, theirs, [SPEECH[1]])
    await gateway.pool.execute("UPDATE shares SET owner = 'somebody' WHERE share_id = $1", theirs)
    response = await gateway.http.get(f"/shares/{bread}/similar")
    found = SearchAnswer.model_validate(response.json())
    assert found.hits[0].share_id == loaf
    assert found.hits[0].text.startswith("Put the loaf")
    assert {hit.share_id for hit in found.hits} <= {loaf, broker}
    assert (await gateway.http.get(f"/shares/{theirs}/similar")).status_code == 404
    assert not gateway.ledger.ended, "nothing is bought for it"


async def test_filters_leave_what_they_say(gateway: Gateway) -> None:
    english, german = await share_text(gateway, "One"), await share_text(gateway, "Two")
    for share_id in (english, german):
        await add_chunks(gateway, share_id, SPEECH)
    await gateway.pool.execute("UPDATE shares SET language = 'de-AT' WHERE share_id = $1", german)
    await gateway.pool.execute(
        "UPDATE shares SET created_at = now() - interval '3 days' WHERE share_id = $1", english
    )
    day = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for filters, left in (
        ({"language": "de"}, {german}),
        ({"language": "fr"}, set[str]()),
        ({"since": day}, {german}),
        ({"until": day}, {english}),
        ({"share": english}, {english}),
        ({"kind": "upload"}, set[str]()),
        ({"content_type": "article"}, {english, german}),
        ({"content_type": "video"}, set[str]()),
        ({"category": "science"}, set[str]()),
    ):
        for mode in ("hybrid", "keyword"):
            answer = await search(gateway, "country", mode=mode, **filters)
            assert {hit.share_id for hit in answer.hits} == left, (filters, mode)


async def test_a_denied_search_goes_by_words_and_says_so(gateway: Gateway) -> None:
    await add_chunks(gateway, await share_text(gateway), SPEECH)
    gateway.ledger.answer = Refusal("day:search", MicroUSD(100), MicroUSD(0), MicroUSD(0), None)
    answer = await search(gateway, "country")
    assert answer.mode == "keyword"
    assert "needs $0.0001, but $0.00 is left of this day's $0.00 for search" in (answer.note or "")
    assert [hit.text for hit in answer.hits] == [SPEECH[0]]
    assert gateway.ledger.ended == {}
    question = await search(gateway, "what can a country do for a loaf")
    assert question.hits[0].text == SPEECH[0], "a question finds what has most of its words"
    by_words = await search(gateway, "what can a country do for a loaf", mode="keyword")
    assert by_words.hits[0].text == SPEECH[0], "a search by words does, too"
    assert (await search(gateway, '"country do for a loaf"', mode="keyword")).hits == [], "a phrase is meant as it is"


@pytest.mark.parametrize(
    "path", ["/search", "/search?q=", "/search?q=%20", "/search?q=a&limit=0", "/search?q=a&mode=x"]
)
async def test_a_search_that_makes_no_sense_is_one_sentence(gateway: Gateway, path: str) -> None:
    assert problem(await gateway.http.get(path), 422).count(". ") == 0


async def test_the_budget_shows_caps_and_spend_of_this_hour_and_day(gateway: Gateway, unique: str) -> None:
    now = gateway.parts.clock.now()
    hour, day = now.replace(minute=0, second=0, microsecond=0), now.replace(hour=0, minute=0, second=0, microsecond=0)
    entries: list[tuple[str, str | None, int | None, int, int]] = [
        ("cap-changed", "hour", 1000, 0, 0),
        ("granted", None, None, 0, 300),
        ("settled", None, None, 250, -300),
    ]
    for offset, (outcome, window, cap, settled, held) in enumerate(entries):
        await gateway.pool.execute(
            """
            INSERT INTO ledger_entries (partition, request_offset, decision_offset, request_id, op, outcome, account,
                scope, hour_start, day_start, amount_micro_usd, actual_micro_usd, overrun_micro_usd, settled_change,
                held_change, unconfirmed_change, overrun_change, calls_change, cap_window, cap_micro_usd, decided_at)
            VALUES ($10, $1, $1, $11, 'x', $2, $3, 'transcribe', $4, $5, 0, 0, 0, $6, $7, 0, 0, 0, $8, $9, now())
            """,
            offset,
            outcome,
            unique,
            hour if window is None else None,
            day if window is None else None,
            settled,
            held,
            window,
            cap,
            int(unique[1:6], 16),
            unique,
        )
    rows = (await gateway.http.get("/budget", params={"account": unique})).json()["rows"]
    seen = {
        (r["scope"], r["window"]): (r["settled_micro_usd"], r["held_micro_usd"], r["left_micro_usd"]) for r in rows
    }
    assert seen[("transcribe", "hour")] == (250, 0, 750)
    assert seen[("transcribe", "day")] == (250, 0, None)
    assert seen[("total", "day")] == (250, 0, None)


async def test_the_documentation_needs_no_other_host(gateway: Gateway) -> None:
    page = (await gateway.http.get("/docs")).text
    assert "https://" not in page
    script = page.split('<script src="')[1].split('"')[0]
    assert "swagger" in script
    assert (await gateway.http.get(script)).status_code == 200
    body = (await gateway.http.get("/openapi.json")).json()["paths"]["/shares"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}


async def test_other_hosts_pages_and_paths_are_refused(gateway: Gateway) -> None:
    assert "host name" in problem(await gateway.http.get("/healthz", headers={"host": "evil.example"}), 400)
    foreign = {"origin": "https://evil.example"}
    assert "other sites" in problem(await gateway.http.post("/shares", json={"text": "a"}, headers=foreign), 403)
    assert "/docs" in problem(await gateway.http.get("/nothing"), 404)
    assert "method" in problem(await gateway.http.delete("/shares"), 405)


async def test_readiness_tells_what_waits(gateway: Gateway) -> None:
    await drain(gateway)
    await share_text(gateway)
    ready = (await gateway.http.get("/readyz")).json()
    assert (ready["status"], ready["outbox_messages"]) == ("ready", 1)
    assert ready["outbox_oldest_s"] >= 0


async def test_a_database_that_is_away_is_a_503_with_a_sentence(gateway: Gateway) -> None:
    async with asyncpg.create_pool("postgresql://nobody:secret@127.0.0.1:1/none", min_size=0) as away:
        app = create_app(replace(gateway.parts, pool=away), LOOPBACK)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
            expected = "The database does not answer; try again in a few seconds."
            assert problem(await http.get("/shares/x"), 503) == expected
            assert (await http.get("/readyz")).status_code == 503
