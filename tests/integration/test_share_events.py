"""Server-sent events of shares, over a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn

from services.api_gateway.__main__ import _Server, listen
from services.api_gateway.app import create_app
from services.api_gateway.guard import LOOPBACK
from services.api_gateway.listeners import MOST_WAITING, Listener, Told
from services.api_gateway.routes.events import MOST_STREAMS, EventStream
from tests.integration.gateway import Gateway
from tests.support.waiting import eventually


@dataclass
class Served:
    """A gateway that listens; `stop` stops it as a signal does."""

    gateway: Gateway
    url: str
    stop: Callable[[], None]
    ended: asyncio.Task[None]

    async def share(self, text: str = "Words.") -> str:
        answer = await self.gateway.http.post("/shares", json={"text": text})
        return str(answer.json()["share_id"])

    async def move(self, share_id: str, state: str, stage: str = "summarize") -> None:
        sql = "UPDATE jobs SET state = $2 WHERE share_id = $1 AND stage = $3"
        await self.gateway.pool.execute(sql, share_id, state, stage)


@dataclass
class Event:
    kind: str
    mark: str
    data: dict[str, Any]

    @property
    def states(self) -> dict[str, str]:
        return {stage["stage"]: stage["state"] for stage in self.data["stages"]}


class Reader:
    """Reads one stream; comments are counted."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.comments = 0

    async def next(self) -> Event | None:
        """The next event; None at the end of the stream."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(20):
            async for line in self._lines:
                self.comments += line.startswith(":")
                if line == "" and "event" in fields:
                    return Event(fields["event"], fields["id"], json.loads(fields["data"]))
                name, _, value = line.partition(": ")
                fields[name] = value
        return None


@asynccontextmanager
async def reading(served: Served, path: str, mark: str | None = None) -> AsyncIterator[Reader]:
    headers = {} if mark is None else {"last-event-id": mark}
    async with (
        httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30) as http,
        http.stream("GET", path, headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in response.headers, "it would be held back until there is more of it"
        yield Reader(response)


@pytest.fixture
async def served(gateway: Gateway) -> AsyncIterator[Served]:
    config = uvicorn.Config(create_app(gateway.parts, LOOPBACK), log_config=None, lifespan="off")
    config.timeout_graceful_shutdown = 10
    server = _Server(config, gateway.parts.watcher.end)
    with listen("127.0.0.1", 0) as bound:
        running = asyncio.create_task(server.serve(sockets=[bound]))
        await eventually(lambda: server.started, "the server")

        def stop() -> None:
            server.should_exit = True

        yield Served(gateway, f"http://127.0.0.1:{bound.getsockname()[1]}", stop, running)
        stop()
        await asyncio.wait_for(running, 20)


async def running(reader: Reader) -> str:
    """The next share of which a stage runs; what others hold open may let a look tell older states again."""
    while (event := await reader.next()) is not None:
        if "running" in event.states.values() and event.data["state"] == "running":
            return str(event.data["share_id"])
    raise AssertionError("the stream ended")


def watched(served: Served) -> int:
    return len(served.gateway.parts.watcher._listeners)


async def test_a_share_is_told_at_once_and_whenever_it_changes(served: Served) -> None:
    share_id = await served.share()
    async with reading(served, f"/shares/{share_id}/events") as reader:
        first = await reader.next()
        assert first is not None
        assert first.data == (await served.gateway.http.get(f"/shares/{share_id}")).json()
        await served.move(share_id, "running")
        second = await reader.next()
        assert second is not None
        assert second.states == {"summarize": "running", "embed": "queued"}
    await eventually(lambda: watched(served) == 0, "the stream to end when its reader has left")


async def test_who_comes_again_is_told_only_what_is_new(served: Served) -> None:
    share_id = await served.share()
    async with reading(served, f"/shares/{share_id}/events") as reader:
        known = await reader.next()
    assert known is not None
    async with reading(served, f"/shares/{share_id}/events", known.mark) as reader:
        await eventually(lambda: watched(served) == 1, "the reader")
        await served.move(share_id, "failed")
        new = await reader.next()
        assert new is not None
        assert new.states["summarize"] == "failed", "what was known already is not told again"
    await served.move(share_id, "running")
    async with reading(served, f"/shares/{share_id}/events", new.mark) as reader:
        now = await reader.next()
        assert now is not None
        assert now.states["summarize"] == "running", "it changed while nobody read"


async def test_all_own_shares_are_told_as_rows_and_what_was_missed_is_caught_up(served: Served) -> None:
    async with reading(served, "/events") as reader:
        await eventually(lambda: watched(served) == 1, "the reader")
        share_id = await served.share()
        new = await reader.next()
        assert new is not None
        assert new.data["share_id"] == share_id
        assert new.data == (await served.gateway.http.get("/shares")).json()["shares"][0]
    await served.move(share_id, "done")
    other = await served.share()
    async with reading(served, "/events", new.mark) as reader:
        missed = [await reader.next(), await reader.next()]
        assert [event and event.data["share_id"] for event in missed] == [share_id, other]


async def test_who_was_told_nothing_yet_knows_where_it_stands(served: Served) -> None:
    """Or what happens before it is connected again would be told to nobody."""
    async with (
        httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30) as http,
        http.stream("GET", "/events") as response,
    ):
        lines = response.aiter_lines()
        mark = await anext(line.removeprefix("id: ") async for line in lines if line.startswith("id: "))
    share_id = await served.share()
    async with reading(served, "/events", mark) as reader:
        missed = await reader.next()
        assert missed is not None
        assert missed.data["share_id"] == share_id


async def test_rows_of_a_restored_database_are_not_told_again_and_again(served: Served) -> None:
    """Their ids are of another cluster, and seem to be of transactions that are still to come."""
    share_id, parts = await served.share(), served.gateway.parts
    async with parts.pool.acquire() as connection, connection.transaction():
        await connection.execute("ALTER TABLE jobs DISABLE TRIGGER USER")
        await connection.execute("UPDATE jobs SET changed = '900000000000' WHERE share_id = $1", share_id)
        await connection.execute("ALTER TABLE jobs ENABLE TRIGGER USER")
    assert await parts.watcher.since(parts.owner, 0) == []
    await served.move(share_id, "running")
    assert [json.loads(told.data)["share_id"] for told in await parts.watcher.since(parts.owner, 0)] == [share_id]


async def test_a_share_that_cannot_be_shown_ends_its_own_streams_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, good = await served.share(), await served.share()
    watcher, share = served.gateway.parts.watcher, served.gateway.parts.watcher.share

    async def shown(share_id: str, owner: str) -> Told:
        if share_id == odd:
            raise ValueError("a result of another time")
        return await share(share_id, owner)

    async with reading(served, f"/shares/{odd}/events") as one, reading(served, f"/shares/{good}/events") as other:
        await one.next()
        await other.next()
        monkeypatch.setattr(watcher, "share", shown)
        await served.move(odd, "running")
        assert await one.next() is None
        await served.move(good, "running")
        assert await other.next() is not None


async def test_a_share_that_takes_long_to_read_keeps_nobody_else_waiting(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = await served.share(), await served.share()
    watcher, share = served.gateway.parts.watcher, served.gateway.parts.watcher.share
    asked, read = asyncio.Event(), asyncio.Event()

    async def slowly(share_id: str, owner: str) -> Told:
        if share_id == large:
            asked.set()
            await read.wait()
        return await share(share_id, owner)

    async with (
        reading(served, f"/shares/{large}/events") as of_large,
        reading(served, f"/shares/{small}/events") as of_small,
        reading(served, "/events") as of_all,
    ):
        await of_large.next()
        await of_small.next()
        monkeypatch.setattr(watcher, "share", slowly)
        await served.move(large, "running")
        await asyncio.wait_for(asked.wait(), 20)
        assert await running(of_all) == large, "rows need no results"
        await served.move(small, "running")
        assert await running(of_small) == small
        await served.move(large, "failed")
        while (event := await of_all.next()) is not None and event.data["state"] != "failed":
            continue
        read.set()
        while (event := await of_large.next()) is not None and event.data["state"] != "failed":
            continue
        assert event is not None, "what changed while it was read is told, too"
    await eventually(lambda: not watcher._telling, "the end of what was read for nobody any more")


async def test_nobody_reads_more_streams_than_a_few_tabs_need(served: Served) -> None:
    watcher, owner = served.gateway.parts.watcher, served.gateway.parts.owner
    listeners = [await watcher.join(owner) for _ in range(MOST_STREAMS)]
    for path in ("/events", f"/shares/{await served.share()}/events"):
        refused = await served.gateway.http.get(path)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    for listener in listeners:
        watcher.leave(listener)


async def test_a_stream_ends_when_its_token_does(served: Served) -> None:
    parts = served.gateway.parts
    listener = await parts.watcher.join(parts.owner)
    stream = EventStream(parts.watcher, listener, [], 0.2)
    sent = [chunk async for chunk in stream.body_iterator]
    assert sent[0] == b"retry: 2000\n\n"
    parts.watcher.leave(listener)


async def test_what_commits_late_is_told_too(served: Served) -> None:
    early, late = await served.share(), await served.share()
    async with reading(served, "/events") as reader, served.gateway.pool.acquire() as connection:
        await eventually(lambda: watched(served) == 1, "the reader")
        slow = connection.transaction()
        await slow.start()
        await connection.execute("UPDATE jobs SET state = 'running' WHERE share_id = $1", late)
        await served.move(early, "running")
        assert await running(reader) == early
        await slow.commit()
        assert await running(reader) == late


async def test_a_stranger_s_share_is_none(served: Served) -> None:
    share_id = await served.share()
    await served.gateway.pool.execute("UPDATE shares SET owner = 'a-stranger' WHERE share_id = $1", share_id)
    for path in (f"/shares/{share_id}/events", "/shares/a%00b/events", "/shares/none/events"):
        assert (await served.gateway.http.get(path)).status_code == 404
    assert watched(served) == 0


async def test_many_readers_cost_one_look(served: Served) -> None:
    share_id = await served.share()
    pool = served.gateway.pool
    async with reading(served, f"/shares/{share_id}/events") as first:
        await first.next()
        looking = served.gateway.parts.watcher._looking
        listeners = [await served.gateway.parts.watcher.join(served.gateway.parts.owner) for _ in range(1_000)]
        assert served.gateway.parts.watcher._looking is looking, "one task for all of them"
        await served.move(share_id, "running")
        assert await first.next() is not None
        rows = [listener.take() for listener in listeners]
        assert len({told.data for row in rows for told in row}) == 1
        assert all(len(row) == 1 for row in rows)
        assert pool.get_size() <= 10
        for listener in listeners:
            served.gateway.parts.watcher.leave(listener)


async def test_streams_end_at_once_when_the_gateway_stops(served: Served) -> None:
    share_id = await served.share()
    async with reading(served, f"/shares/{share_id}/events") as one, reading(served, "/events") as all_of_them:
        await one.next()
        await eventually(lambda: watched(served) == 2, "both readers")
        served.stop()
        assert await one.next() is None
        assert await all_of_them.next() is None
    await asyncio.wait_for(asyncio.shield(served.ended), 5)


async def test_silence_is_filled_with_comments(served: Served) -> None:
    served.gateway.parts.watcher.heart_beat_s = 0.2
    share_id = await served.share()
    async with reading(served, f"/shares/{share_id}/events") as reader:
        await reader.next()
        waiting = asyncio.create_task(reader.next())
        await eventually(lambda: reader.comments >= 2, "two comments")
        await served.move(share_id, "running")
        assert await waiting is not None


async def test_a_broken_connection_to_the_database_is_survived(served: Served) -> None:
    share_id = await served.share()
    async with reading(served, f"/shares/{share_id}/events") as reader:
        await reader.next()
        async with served.gateway.pool.acquire() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await served.move(share_id, "running")
        assert await reader.next() is not None


def test_one_share_is_told_only_when_it_is_in_another_state() -> None:
    listener = Listener("somebody", "one")
    listener.knows("a")
    for mark in ("a", "b", "b"):
        listener.tell("one", Told("share", mark, mark))
    assert [told.mark for told in listener.take()] == ["b"]


def test_a_slow_reader_holds_the_newest_states_and_is_closed_before_it_holds_too_many() -> None:
    listener = Listener("somebody", None)
    for number in range(3 * MOST_WAITING):
        listener.tell("one", Told("share", str(number), "1"))
    assert [told.data for told in listener.take()] == [str(3 * MOST_WAITING - 1)]
    for number in range(MOST_WAITING + 1):
        listener.tell(str(number), Told("share", "", "1"))
    assert listener.closed
    assert listener.take() == []


async def test_a_share_that_is_deleted_is_gone_for_those_who_watch_it_or_all(served: Served) -> None:
    share_id, other = await served.share(), await served.share("Other words.")
    async with reading(served, f"/shares/{share_id}/events") as reader, reading(served, "/events") as all_of_them:
        assert (await reader.next()) is not None
        await eventually(lambda: watched(served) == 2, "both readers")
        assert (await served.gateway.http.delete(f"/shares/{share_id}")).status_code == 204
        gone = await reader.next()
        assert gone is not None
        assert (gone.kind, gone.data) == ("gone", {"share_id": share_id})
        assert await reader.next() is None, "which ends its stream"
        told = await all_of_them.next()
        while told is not None and told.data["share_id"] != share_id:
            told = await all_of_them.next()
        while told is not None and told.kind == "share":  # of before it was deleted
            told = await all_of_them.next()
        assert told is not None
        assert (told.kind, told.data) == ("gone", {"share_id": share_id})
        await served.move(other, "running")
        assert await running(all_of_them) == other, "the stream of all goes on"


async def test_who_comes_again_is_told_what_was_deleted_meanwhile(served: Served) -> None:
    share_id = await served.share()
    async with reading(served, "/events") as reader:
        await served.move(share_id, "running")
        known = await reader.next()
    assert known is not None
    assert (await served.gateway.http.delete(f"/shares/{share_id}")).status_code == 204
    async with reading(served, "/events", known.mark) as reader:
        event = await reader.next()
        while event is not None and event.kind == "share":
            event = await reader.next()
        assert event is not None
        assert (event.kind, event.data) == ("gone", {"share_id": share_id})
