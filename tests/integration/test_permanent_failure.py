"""Failures for good: one job's through twenty restarts, and that of a whole deployment; each is mended and redriven.

A stack of its own: a real gateway, ledger and agent, which is killed (-9) in the midst again and again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from millrace.contracts.events import StageRequested
from millrace.contracts.share_api import ShareView
from millrace.money import MicroUSD
from millrace.stream.calls import MAX_CALLS
from tests.chaos.jobs_parts import Stage, open_stage
from tests.chaos.worker import Worker
from tests.support.fates import Fates
from tests.support.kafka import read_all
from tests.support.process import ROOT
from tests.support.provider import DOLLARS_IN, DOLLARS_OUT
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(900)
RESTARTS = 20
MANY = 40
LEAST, CONCURRENCY = 4, 4
WORDS = ("NonsenseForEver", "BusyForEver")
FILLING = "A miller keeps the gate so that the wheel turns at the speed which the stones need, all day long. " * 3


@dataclass
class Running:
    """Everything that runs, and its API."""

    stage: Stage
    fates: Fates
    agent: Worker
    http: httpx.AsyncClient
    environment: dict[str, str]

    async def share(self, words: str) -> str:
        response = await self.http.post("/shares", json={"text": f"{words}. {FILLING}"})
        assert response.status_code == 202, response.text
        return str(response.json()["share_id"])

    async def summary_of(self, share_id: str) -> tuple[str, ShareView]:
        """The state of a share's summary, and the share."""
        view = ShareView.model_validate((await self.http.get(f"/shares/{share_id}")).json())
        (state,) = [stage.state for stage in view.stages if stage.stage == "summarize"]
        return state, view

    async def ends(self, share_id: str, state: str, within_s: float = 180.0) -> ShareView:
        async with asyncio.timeout(within_s):
            while (found := await self.summary_of(share_id))[0] != state:  # noqa: ASYNC110  # rows have no events
                await asyncio.sleep(0.1)
        return found[1]

    async def kill_in_the_midst(self, chance: random.Random) -> bool:
        """kill -9 during a call about a failing text (then True), or somewhere else; then start it again."""
        before = self.fates.count()
        await eventually(self.agent.working, "the agent to be ready", 120)
        called = await asyncio.to_thread(self.fates.wait_for_more, before, chance.uniform(0.2, 3.0))
        await asyncio.sleep(chance.uniform(0.0, 1.3) * self.fates.takes_s)
        self.agent.signal(signal.SIGKILL)
        self.agent.process.wait(10)
        self.agent.tend(0.0)
        return called

    async def unready(self) -> str | None:
        """Why the agent is not ready, as its /readyz says; None when it is."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{self.agent.url}/readyz")
        return None if answer.is_success else str(answer.json()["reason"])

    async def command(self, *arguments: str) -> dict[str, Any]:
        """`millrace …` as an operator types it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "millrace.cli.main", *arguments, "--json"),
            cwd=ROOT,
            env=self.environment | {"MILLRACE_GATEWAY": str(self.http.base_url)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        said, wrong = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0, wrong.decode()
        return cast("dict[str, Any]", json.loads(said))

    async def counted(self, share_id: str) -> tuple[int, int]:
        """How many holds the ledger has granted for a share's summary, and what they count for, once none is held."""
        sql = """
            SELECT count(*) FILTER (WHERE outcome = 'granted'), coalesce(sum(held_change), 0),
                   coalesce(sum(settled_change + held_change + unconfirmed_change), 0)
              FROM ledger_entries JOIN calls USING (request_id)
             WHERE calls.share_id = %s AND calls.scope = 'summarize'
        """
        async with asyncio.timeout(30):
            while True:
                granted, held, used = await asyncio.to_thread(self._row, sql, share_id)
                if held == 0 and granted:
                    return int(granted), int(used)
                await asyncio.sleep(0.1)

    def _row(self, sql: str, *values: str) -> tuple[Any, ...]:
        import psycopg

        with psycopg.connect(self.stage.stack.postgres) as connection:
            row = connection.execute(sql.encode(), values).fetchone()
        assert row is not None
        return tuple(row)

    async def messages(self, topic: str, share_id: str) -> list[tuple[bytes, dict[str, bytes]]]:
        """Values and headers of all messages about a share."""
        return await asyncio.to_thread(self._messages, topic, share_id.encode())

    def _messages(self, topic: str, key: bytes) -> list[tuple[bytes, dict[str, bytes]]]:
        return [
            (message.value() or b"", dict(cast("list[tuple[str, bytes]]", message.headers() or [])))
            for message in read_all(self.stage.stack.kafka, topic)
            if message.key() == key
        ]


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Running]:
    # Not below pytest's own folder: every other run of pytest takes that away from the user whom PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="millrace-test-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        async with open_stage(folder) as stage:
            fates = Fates(stage.provider)
            inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
            environment = {
                **inherited,
                **stage.environment(),
                "MILLRACE_LEASE_S": "2",
                "MILLRACE_INSTANCE": "one",  # a worker that is started again has its partitions at once
                "MILLRACE_DEAD_LEAST": str(LEAST),
                "MILLRACE_DEAD_LAST": "10",
            }
            gateway = Worker("services.api_gateway", environment, folder / "gateway.log")
            agent = Worker("services.summarize_agent", environment, folder / "agent.log")
            try:
                async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
                    await eventually(gateway.answers, "the gateway to be ready", 120)
                    yield Running(stage, fates, agent, http, environment)
            finally:
                agent.end()
                gateway.end()


async def test_its_budget_holds_through_restarts_and_a_redrive_brings_it_to_its_end(running: Running) -> None:
    fates, chance = running.fates, random.Random(5)  # noqa: S311  # the same moments every time
    fates.by_word = {"NonsenseForEver": "nonsense", "BusyForEver": "busy"}
    shares = {word: await running.share(word) for word in WORDS}
    healthy, in_calls = [], 0
    for number in range(RESTARTS):
        healthy.append(await running.share(f"Healthy words no. {number}"))
        in_calls += await running.kill_in_the_midst(chance)
    assert in_calls >= 2, "some of the kills were about calls"
    for share_id in healthy:
        await running.ends(share_id, "done")

    letters = {}
    for word, share_id in shares.items():
        await running.ends(share_id, "failed")
        assert 1 <= fates.requests(word) <= MAX_CALLS
        granted, used = await running.counted(share_id)
        assert granted <= MAX_CALLS + RESTARTS, "a hold may be granted and released without a call"
        assert used <= MAX_CALLS * await _hold(running, share_id)
        assert _micro_usd(fates.billed_tokens(word)) <= used, "what was billed is counted"
        (letter,) = (await running.command("dead", "list", "--share", share_id))["letters"]
        assert (letter["state"], letter["stage"]) == ("open", "summarize")
        letters[word] = letter["id"]
        on_topic = await running.messages("summarize.dead", share_id)
        assert {headers["millrace-dead-letter"].decode() for _, headers in on_topic} == {letter["id"]}
        created = await running.messages("share.created", share_id)
        assert {value for value, _ in on_topic} == {value for value, _ in created}, "byte by byte"

    before = {word: fates.requests(word) for word in WORDS}
    fates.by_word = dict.fromkeys(WORDS, "works")
    for word, share_id in shares.items():
        assert (await running.command("dead", "redrive", letters[word]))["repeated"] is False
        view = await running.ends(share_id, "done")
        assert view.summary is not None
        assert view.summary.summary == "A summary by the stand-in."
        assert fates.requests(word) == before[word] + 1
        assert (await running.command("dead", "redrive", letters[word]))["repeated"] is True
        assert len(await running.messages("summary.ready", share_id)) == 1
        commands = [
            await running.stage.codec.decode("summarize.requested", value)
            for value, _ in await running.messages("summarize.requested", share_id)
        ]
        assert [one.reason for one in commands if isinstance(one, StageRequested)].count("redrive") == 1
        assert fates.requests(word) == before[word] + 1
    assert (await running.command("dead", "list"))["letters"] == []


async def test_a_bad_deployment_does_not_make_dead_letters_of_the_whole_topic(running: Running) -> None:
    fates = running.fates
    fates.by_word = {"AllOfThem": "wrong"}
    shares = [await running.share(f"AllOfThem no. {number}") for number in range(MANY)]
    async with asyncio.timeout(180):
        while (reason := await running.unready()) is None or "dead letters" not in reason:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.1)
    assert "`millrace dead list --stage summarize`; one job is tried at " in reason
    await asyncio.sleep(2 * fates.takes_s)  # those that had begun have ended now
    dead = [letter["share_id"] for letter in (await running.command("dead", "list"))["letters"]]
    assert LEAST <= len(dead) <= LEAST + CONCURRENCY + 1, "those at once, and one that was tried"

    fates.by_word = {}
    dry = await running.command("dead", "redrive", "--stage", "summarize", "--error", "Poison")
    assert (dry["matched"] >= len(dead), dry["changed"]) == (True, 0)
    done = await running.command("dead", "redrive", "--stage", "summarize", "--error", "Poison", "--yes")
    assert done["changed"] == dry["matched"]
    for share_id in shares:
        await running.ends(share_id, "done")
    assert await running.unready() is None
    assert (await running.command("dead", "list"))["letters"] == []


async def _hold(running: Running, share_id: str) -> int:
    (hold,) = await asyncio.to_thread(
        running._row, "SELECT max(hold_micro_usd) FROM calls WHERE share_id = %s AND scope = 'summarize'", share_id
    )
    return int(hold)


def _micro_usd(tokens: int) -> MicroUSD:
    """The least that so many tokens cost."""
    return MicroUSD(int(tokens * min(DOLLARS_IN, DOLLARS_OUT)))
