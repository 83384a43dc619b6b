"""Deleting a share at the gateway: its rows, work that others need or not, files, and who is told."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from confluent_kafka import Consumer, TopicPartition

from millrace.contracts.partitions import partition_for
from millrace.errors import Unavailable
from millrace.store.blobs import BlobMissing, BlobStore
from millrace.store.database import Connection, Database
from millrace.store.deletion import IN_FLIGHT
from services.api_gateway.errors import NotFound
from services.api_gateway.principal import Principal, local_admin
from services.api_gateway.removal import Remover
from services.api_gateway.uploads import hold
from tests.integration.gateway import Gateway, add_chunks, finish_job
from tests.support.traces import traces

pytestmark = pytest.mark.timeout(60)


async def share(gateway: Gateway, **fields: str) -> str:
    answer = await gateway.http.post("/shares", json=fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["share_id"])


async def upload(gateway: Gateway, content: bytes, name: str = "a.mp3") -> tuple[str, str]:
    """A share of a file; and the key of the file."""
    answer = await gateway.http.post("/shares", files={"file": (name, content, "audio/mpeg")})
    assert answer.status_code == 202, answer.text
    share_id = str(answer.json()["share_id"])
    return share_id, await gateway.pool.fetchval("SELECT blob_key FROM shares WHERE share_id = $1", share_id)


async def deleted(gateway: Gateway, share_id: str) -> int:
    return (await gateway.http.delete(f"/shares/{share_id}")).status_code


async def done(gateway: Gateway, share_id: str, stage: str, result: dict[str, object]) -> str:
    """A finished stage of a share, with a settled call; returns the work's key."""
    key = f"{stage}:{uuid.uuid4().hex}"
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, fence, lease_until, result, finished_at) "
            "VALUES ($1, $2, 1, now(), $3, now())",
            key,
            stage,
            result,
        )
        await connection.execute(
            "INSERT INTO calls (request_id, work_key, call_no, attempt, account, scope, share_id, model, state, "
            "told_ledger, hold_micro_usd, actual_micro_usd, answer, reason) "
            "VALUES ($1, $2, 0, 1, 'default', $3, $4, 'm', 'settled', true, 10, 7, $5, $6)",
            uuid.uuid4().hex,
            key,
            stage,
            share_id,
            result,
            str(result),
        )
        await finish_job(connection, share_id, stage, key)
    return key


async def found(gateway: Gateway, *texts: str) -> list[str]:
    async with gateway.pool.acquire() as connection:
        return await traces(connection, *texts)


async def test_nothing_of_it_is_in_the_database_but_what_it_has_cost(gateway: Gateway) -> None:
    canary = f"canary{uuid.uuid4().hex}"
    share_id = await share(gateway, text=f"The {canary} sings.", title=canary, description=canary)
    summary = await done(gateway, share_id, "summarize", {"summary": f"About a {canary}"})
    await add_chunks(gateway, share_id, [f"The {canary} sings."])
    await gateway.pool.execute(
        'INSERT INTO dead_letters (id, topic, partition, "offset", stage, share_id, key, value, headers, error, '
        "reason, stack, attempts, service, died_at) "
        "VALUES ($1, $1, 0, 0, 'embed', $2, $3, $4, $5, 'Poison', $6, $6, 1, 't', now())",
        uuid.uuid4().hex,
        share_id,
        share_id.encode(),
        canary.encode(),
        {"h": canary},
        canary,
    )
    await gateway.pool.execute(
        "INSERT INTO pending_texts (work_key, content_hash, model, account, share_id, text, tokens, not_before, due) "
        "VALUES ((SELECT work_key FROM jobs WHERE share_id = $1 AND stage = 'embed'), $2, 'm', 'default', $1, $2, 1, "
        "now(), now())",
        share_id,
        canary,
    )
    assert len(await found(gateway, canary)) >= 7

    assert await deleted(gateway, share_id) == 204
    assert await found(gateway, canary) == []
    (call,) = await gateway.pool.fetch("SELECT * FROM calls WHERE work_key = $1", summary)
    assert (call["state"], call["actual_micro_usd"], call["answer"]) == ("settled", 7, None)
    for path in (f"/shares/{share_id}", f"/shares/{share_id}/media", f"/shares/{share_id}/transcript"):
        assert (await gateway.http.get(path)).status_code == 404, path
    assert (await gateway.http.get("/search", params={"q": canary})).json()["hits"] == []
    assert (await gateway.http.get("/shares")).json()["shares"] == []


async def test_it_may_be_repeated_and_strangers_hear_of_nothing(gateway: Gateway) -> None:
    share_id = await share(gateway, text="Mine.")
    desk, stranger = gateway.parts.deletions, Principal("somebody else", frozenset({"user"}), None)
    refused = await gateway.http.delete(f"/shares/{uuid.uuid4()}")
    assert refused.status_code == 404
    with pytest.raises(NotFound):
        await desk.delete(share_id, stranger)
    assert (await gateway.http.get(f"/shares/{share_id}")).status_code == 200
    assert [await deleted(gateway, share_id) for _ in range(2)] == [204, 204]
    with pytest.raises(NotFound):
        await desk.delete(share_id, stranger)
    assert await deleted(gateway, "a%00b") == 404


async def test_an_admin_deletes_anybodys_share(gateway: Gateway) -> None:
    share_id = await share(gateway, text="Somebody's.")
    await gateway.parts.deletions.delete(share_id, local_admin("the admin"))
    assert (await gateway.http.get(f"/shares/{share_id}")).status_code == 404


async def test_what_another_share_needs_stays_until_that_is_deleted_too(gateway: Gateway) -> None:
    canary = f"canary{uuid.uuid4().hex}"
    first, second = [await share(gateway, text=f"Twice the same {canary}.") for _ in range(2)]
    summary = await done(gateway, first, "summarize", {"summary": canary})
    chunks = await add_chunks(gateway, first, [f"Twice the same {canary}."])
    async with gateway.pool.acquire() as connection:
        await finish_job(connection, second, "summarize", summary)
        await finish_job(connection, second, "embed", chunks, gateway.model.name)

    assert await deleted(gateway, first) == 204
    result = await gateway.pool.fetchval("SELECT result FROM work WHERE work_key = $1", summary)
    assert result == {"summary": canary}
    hits = (await gateway.http.get("/search", params={"q": canary})).json()["hits"]
    assert {hit["share_id"] for hit in hits} == {second}

    assert await deleted(gateway, second) == 204
    assert await found(gateway, canary) == []


async def test_what_its_stages_were_asked_for_before_goes_too(gateway: Gateway) -> None:
    canary = f"canary{uuid.uuid4().hex}"
    share_id = await share(gateway, text="Done by one model and then by another.")
    key = await done(gateway, share_id, "summarize", {"summary": canary})
    await gateway.pool.execute("DELETE FROM calls WHERE work_key = $1", key)  # a work without a call leaves no payer
    await done(gateway, share_id, "summarize", {"summary": "by another"})
    assert await deleted(gateway, share_id) == 204
    assert await found(gateway, canary) == []


async def test_vectors_stay_that_a_passage_of_another_share_has(gateway: Gateway) -> None:
    text = f"Words that two share {uuid.uuid4().hex}."
    first, second = await share(gateway, text="one"), await share(gateway, text="two")
    await add_chunks(gateway, first, [text, f"only the first has {first}"])
    await add_chunks(gateway, second, [text])
    assert await deleted(gateway, first) == 204
    sql = "SELECT count(*) FROM embeddings WHERE content_hash = md5($1)"
    assert await gateway.pool.fetchval(sql, text) == 1
    assert await gateway.pool.fetchval(sql, f"only the first has {first}") == 0


async def batch(gateway: Gateway, share_id: str, others: str) -> tuple[str, str]:
    """An answered call of the share's work that took a text of another work along; the work's key and the call's."""
    key = await done(gateway, share_id, "embed", {"hashes": ["one", "two"]})
    request: str = await gateway.pool.fetchval("SELECT request_id FROM calls WHERE work_key = $1", key)
    await gateway.pool.executemany(
        "INSERT INTO call_parts (request_id, work_key, share_id, tokens, cost_micro_usd) VALUES ($1, $2, $3, 1, $4)",
        [(request, key, share_id, 3), (request, others, others, 4)],
    )
    await gateway.pool.execute(
        "INSERT INTO pending_texts (work_key, content_hash, model, account, share_id, text, tokens, not_before, due, "
        "claimed_by) VALUES ($1, 'two', 'm', 'default', $1, 'words', 1, now(), now(), $2)",
        others,
        key,
    )
    return key, request


async def test_an_answer_stays_until_others_have_taken_out_of_it_what_they_pay_for(gateway: Gateway) -> None:
    share_id, others = await share(gateway, text="Embedded together."), f"embed:{uuid.uuid4().hex}"
    key, request = await batch(gateway, share_id, others)
    assert await deleted(gateway, share_id) == 204
    answer = "SELECT answer IS NOT NULL FROM calls WHERE request_id = $1"
    assert await gateway.pool.fetchval(answer, request), "else they would pay again"
    await gateway.pool.execute("UPDATE pending_texts SET bought_at = now() WHERE claimed_by = $1", key)
    await gateway.pool.execute("UPDATE deleted_work SET due = now() WHERE work_key = $1", key)
    await gateway.parts.remover.look()
    assert not await gateway.pool.fetchval(answer, request)


async def test_the_parts_of_a_call_add_up_to_it_whoever_deletes_theirs(gateway: Gateway) -> None:
    share_id, others = await share(gateway, text="Paid together."), f"embed:{uuid.uuid4().hex}"
    key, request = await batch(gateway, share_id, others)
    assert await deleted(gateway, share_id) == 204
    parts = await gateway.pool.fetch("SELECT work_key, cost_micro_usd FROM call_parts WHERE request_id = $1", request)
    assert sum(part["cost_micro_usd"] for part in parts) == 7
    assert key not in {part["work_key"] for part in parts}, (
        "and are no cost of the same work, should it be done again"
    )


async def test_a_worker_is_left_to_end_and_what_it_writes_late_is_removed(gateway: Gateway) -> None:
    canary = f"canary{uuid.uuid4().hex}"
    share_id = await share(gateway, text="Being worked on.")
    key = f"summarize:{uuid.uuid4().hex}"
    async with gateway.pool.acquire() as connection:
        await connection.execute(
            "INSERT INTO work (work_key, stage, fence, lease_until) "
            "VALUES ($1, 'summarize', 1, now() + interval '1 h')",
            key,
        )
        await finish_job(connection, share_id, "summarize", key)
    assert await deleted(gateway, share_id) == 204
    complete = "UPDATE work SET result = $2, finished_at = now() WHERE work_key = $1 AND fence = 1"
    assert await gateway.pool.execute(complete, key, {"summary": canary}) == "UPDATE 1"
    await gateway.pool.execute("UPDATE deleted_work SET due = now() WHERE work_key = $1", key)
    await gateway.parts.remover.look()
    assert await found(gateway, canary) == []
    row = await gateway.pool.fetchrow("SELECT fence, lease_until < now() AS free FROM work WHERE work_key = $1", key)
    assert row is not None
    assert (row["fence"], row["free"]) == (1, True), "the next owner has another fence"
    assert await gateway.pool.fetchval("SELECT due > now() FROM deleted_work WHERE work_key = $1", key)
    await gateway.pool.execute(
        "UPDATE deleted_work SET due = now(), since = now() - interval '3 days' WHERE work_key = $1", key
    )
    await gateway.parts.remover.look()
    assert await gateway.pool.fetchval("SELECT count(*) FROM deleted_work WHERE work_key = $1", key) == 0


@pytest.mark.parametrize("table", ["jobs", "waiting", "dead_letters"])
async def test_no_row_of_it_comes_to_be_any_more(gateway: Gateway, table: str) -> None:
    share_id = await share(gateway, text="Gone.")
    assert await deleted(gateway, share_id) == 204
    sql = {
        "jobs": "INSERT INTO jobs (share_id, stage, account, state) VALUES ($1, 'embed', 'a', 'running')",
        "waiting": "INSERT INTO waiting (due, stage, share_id, account, scope, topic, value) "
        "VALUES (now(), 'embed', $1, 'a', 'embed', 't', '')",
        "dead_letters": 'INSERT INTO dead_letters (id, topic, partition, "offset", stage, share_id, key, value, '
        "headers, error, reason, stack, attempts, service, died_at) "
        "VALUES ($1, $1, 0, 0, 'embed', $1, '', '', '{}', '', '', '', 1, 't', now())",
    }[table]
    assert await gateway.pool.execute(sql, share_id) == "INSERT 0 0"


async def test_who_writes_a_job_while_its_share_is_deleted_is_waited_for(gateway: Gateway) -> None:
    share_id = await share(gateway, text="Both at once.")
    async with gateway.pool.acquire() as writer:
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute(
            "INSERT INTO jobs (share_id, stage, account, state) VALUES ($1, 'media', 'a', 'running')", share_id
        )
        deleting = asyncio.create_task(deleted(gateway, share_id))
        finished, _ = await asyncio.wait([deleting], timeout=0.3)
        assert not finished
        await transaction.commit()
        assert await deleting == 204
    assert await gateway.pool.fetchval("SELECT count(*) FROM jobs WHERE share_id = $1", share_id) == 0


async def test_an_upload_is_removed_with_its_last_share(gateway: Gateway) -> None:
    content = uuid.uuid4().bytes * 100
    (first, key), (second, same) = await upload(gateway, content), await upload(gateway, content)
    assert key == same
    assert await deleted(gateway, first) == 204
    await gateway.parts.remover.look()
    assert await gateway.parts.blobs.read(key) == content
    assert await deleted(gateway, second) == 204
    await gateway.parts.remover.look()
    with pytest.raises(BlobMissing):
        await gateway.parts.blobs.read(key)
    third, _ = await upload(gateway, content)
    assert (await gateway.http.get(f"/shares/{third}/media")).content == content, "it may be shared again"


async def test_a_file_is_left_alone_that_somebody_is_just_uploading(gateway: Gateway) -> None:
    content = uuid.uuid4().bytes * 100
    first, key = await upload(gateway, content)
    await hold(gateway.pool, key)  # as another request does before it looks whether the file is there
    assert await deleted(gateway, first) == 204
    await gateway.parts.remover.look()
    assert await gateway.parts.blobs.read(key) == content
    second, _ = await upload(gateway, content)
    await gateway.pool.execute("UPDATE deleted_blobs SET due = now() WHERE blob_key = $1", key)
    await gateway.parts.remover.look()
    assert (await gateway.http.get(f"/shares/{second}/media")).content == content
    assert await gateway.pool.fetchval("SELECT count(*) FROM deleted_blobs WHERE blob_key = $1", key) == 0


async def test_a_share_does_not_begin_to_refer_to_a_file_that_was_removed_meanwhile(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = uuid.uuid4().bytes * 100
    first, key = await upload(gateway, content)
    accept = gateway.parts.desk.accept

    async def after_a_day(*args: object, **kwargs: object) -> object:
        await gateway.pool.execute("UPDATE uploads_under_way SET until = now() WHERE blob_key = $1", key)
        assert await deleted(gateway, first) == 204
        await gateway.parts.remover.look()
        return await accept(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(gateway.parts.desk, "accept", after_a_day)
    answer = await gateway.http.post("/shares", files={"file": ("a.mp3", content, "audio/mpeg")})
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "The same file was deleted while it was sent; send it again.",
    )


async def test_what_an_abandoned_upload_has_left_is_removed(gateway: Gateway) -> None:
    key = f"uploads/ab/{uuid.uuid4().hex * 2}.mp3"
    await hold(gateway.pool, key)
    await gateway.parts.blobs.put_bytes(key, b"nobody's")
    await gateway.parts.remover.look()
    assert await gateway.parts.blobs.exists(key)
    await gateway.pool.execute("UPDATE uploads_under_way SET until = now() - interval '1 s' WHERE blob_key = $1", key)
    await gateway.parts.remover.look()
    assert not await gateway.parts.blobs.exists(key)


async def test_fetched_media_goes_some_minutes_later_unless_another_work_has_it(gateway: Gateway) -> None:
    keys = [f"temp/videos/2030/01/05/{uuid.uuid4().hex * 2}-1893456000.mp4" for _ in range(2)]
    first, second = [await share(gateway, url=f"https://example.org/{uuid.uuid4()}") for _ in range(2)]
    for key in keys:
        await gateway.parts.blobs.put_bytes(key, b"media")
        await done(gateway, first, "media", {"blob_key": key})
        await gateway.pool.execute("INSERT INTO media_objects VALUES ($1, $1, 5, now())", key)
    await done(gateway, second, "media", {"blob_key": keys[1]})
    assert await deleted(gateway, first) == 204
    sql = "SELECT count(*) FROM media_objects WHERE blob_key = ANY($1)"
    assert await gateway.pool.fetchval(sql, keys) == 0, "nobody finds it any more"
    await gateway.parts.remover.look()
    assert await gateway.parts.blobs.exists(keys[0]), "somebody may have found it a moment ago"
    await gateway.pool.execute("UPDATE deleted_blobs SET due = due - $1::interval", IN_FLIGHT)
    await gateway.parts.remover.look()
    assert [await gateway.parts.blobs.exists(key) for key in keys] == [False, True]


class Away:
    """A media store that does not answer."""

    async def delete(self, key: str) -> None:
        raise Unavailable("S3 does not answer")


async def test_a_file_is_removed_once_the_store_answers_again(gateway: Gateway) -> None:
    content = uuid.uuid4().bytes * 100
    share_id, key = await upload(gateway, content)
    assert await deleted(gateway, share_id) == 204
    away: BlobStore = Away()  # type: ignore[assignment]
    await Remover(gateway.pool, away).look()
    assert await gateway.parts.blobs.exists(key)
    await gateway.pool.execute("UPDATE deleted_blobs SET due = now() WHERE blob_key = $1", key)
    await gateway.parts.remover.look()
    assert not await gateway.parts.blobs.exists(key)


async def test_every_topic_is_told_behind_what_it_has_said(gateway: Gateway) -> None:
    share_id = await share(gateway, text="Told of, and taken back.")
    draining = asyncio.create_task(gateway.parts.drainer.run())
    try:
        async with asyncio.timeout(20):
            while (await gateway.pool.fetchval("SELECT count(*) FROM outbox WHERE key = $1", share_id.encode())) > 0:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert await deleted(gateway, share_id) == 204
            records = await asyncio.to_thread(_records, gateway.kafka, "share.created", share_id, 2)
            (row,) = await asyncio.to_thread(_records, gateway.kafka, "task.status", f"{share_id}|embed", 1)
    finally:
        gateway.parts.drainer.stop()
        await draining
    assert [value is None for value, _ in records] == [False, True]
    assert row == (None, partition_for(share_id, gateway.parts.catalog.topic("task.status").partitions))


async def test_what_kafka_does_not_have_yet_is_never_told(gateway: Gateway) -> None:
    share_id = await share(gateway, text="Taken back before it was told.")
    assert await deleted(gateway, share_id) == 204
    rows = await gateway.pool.fetch(
        "SELECT value FROM outbox WHERE starts_with(convert_from(key, 'UTF8'), $1)", share_id
    )
    assert len(rows) == 7
    assert {row["value"] for row in rows} == {None}


async def test_two_who_lock_rows_in_another_order_both_get_on(gateway: Gateway) -> None:
    share_id = await share(gateway, text="Locked by a worker.")
    key = await done(gateway, share_id, "summarize", {"summary": "x"})
    insert = "INSERT INTO jobs (share_id, stage, account, state) VALUES ($1, 'media', 'a', 'running')"
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    begun: list[asyncio.Task[int]] = []

    async def work(worker: Connection) -> None:
        """Again, as workers do, if it is the one that PostgreSQL ends."""
        await worker.execute("SELECT FROM work WHERE work_key = $1 FOR UPDATE", key)
        if not begun:
            begun.append(asyncio.create_task(deleted(gateway, share_id)))
            async with asyncio.timeout(10):
                while not await gateway.pool.fetchval(waits):  # noqa: ASYNC110 - a lock tells nobody
                    await asyncio.sleep(0.01)
        await worker.execute(insert, share_id)  # waits for the deletion, which waits for this

    await Database(gateway.pool).transaction(work)
    assert await begun[0] == 204
    assert await gateway.pool.fetchval("SELECT count(*) FROM jobs WHERE share_id = $1", share_id) == 0


def _records(kafka: str, topic: str, key: str, count: int) -> list[tuple[bytes | None, int]]:
    """Values and partitions of the first records of a key; Nones are tombstones."""
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"})
    try:
        partitions = consumer.list_topics(topic, timeout=5).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        seen: list[tuple[bytes | None, int]] = []
        for _ in range(100):
            found = [one for one in consumer.consume(500, 0.2) if one.error() is None]
            seen += [(one.value(), one.partition() or 0) for one in found if one.key() == key.encode()]
            if len(seen) >= count:
                break
        return seen
    finally:
        consumer.close()
