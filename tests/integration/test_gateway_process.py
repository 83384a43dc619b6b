"""The gateway as a process: what it says when it cannot start, and how it stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from millrace.embedded.process import launcher_argv
from millrace.embedded.readyfile import Addresses
from tests.integration.gateway import provision, published, published_all

NOBODY = "127.0.0.1:1"


@pytest.fixture
async def environment(stack: Addresses, migrated: str, tmp_path: Path) -> dict[str, str]:
    """Everything a gateway must be told."""
    await provision(stack)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    return inherited | {
        "MILLRACE_KAFKA": stack.kafka,
        "MILLRACE_REGISTRY": stack.registry,
        "MILLRACE_POSTGRES": migrated,
        "MILLRACE_BLOBS": str(tmp_path),
        "MILLRACE_HTTP_PORT": "0",
        "MILLRACE_START_TIMEOUT_S": "1",
    }


@asynccontextmanager
async def process(environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    program = launcher_argv((sys.executable, "-m", "services.api_gateway"))
    started = await asyncio.create_subprocess_exec(*program, env=environment, stderr=asyncio.subprocess.PIPE)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def failed_start(environment: Mapping[str, str]) -> tuple[int | None, str]:
    """Exit status and the last line."""
    async with process(environment) as started:
        _, said = await asyncio.wait_for(started.communicate(), 60)
        return started.returncode, said.decode().strip().splitlines()[-1]


async def address_of(started: asyncio.subprocess.Process) -> str:
    assert started.stderr is not None
    async with asyncio.timeout(60):
        while line := (await started.stderr.readline()).decode():
            if "listening on " in line:
                return line.split("listening on ")[1].split()[0]
    raise AssertionError("the gateway ended without listening")


async def test_it_takes_a_share_publishes_it_and_stops_on_sigterm(
    environment: dict[str, str], stack: Addresses
) -> None:
    async with process(environment) as started:
        url = await address_of(started)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            accepted = await http.post("/shares", json={"text": "Words."})
            assert (await http.get("/readyz")).status_code == 200
        assert len(await published(stack.kafka, accepted.json()["share_id"])) == 1
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 10) == 0


async def test_sigterm_ends_streams_at_once(environment: dict[str, str]) -> None:
    async with process(environment) as started:
        url = await address_of(started)
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False) as http,
            http.stream("GET", "/events", timeout=30) as events,
        ):
            lines = events.aiter_lines()
            begin = [await anext(lines) for _ in range(4)]
            assert (begin[0], begin[2][:4]) == ("retry: 2000", "id: "), "where a reader stands"
            started.send_signal(signal.SIGTERM)
            async with asyncio.timeout(8):  # requests that do not end are cut off after ten
                assert [line async for line in lines if line] == [], "it ends, as it should"
        assert await asyncio.wait_for(started.wait(), 20) == 0


async def test_a_killed_gateway_leaves_nothing_unpublished_to_its_successor(
    environment: dict[str, str], stack: Addresses
) -> None:
    async def take_and_die() -> list[str]:
        async with process(environment) as started:
            url = await address_of(started)
            async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
                answers = await asyncio.gather(*(http.post("/shares", json={"text": f"No. {n}"}) for n in range(20)))
            started.kill()
            await started.wait()
        return [answer.json()["share_id"] for answer in answers]

    ids = await take_and_die()
    async with process(environment) as successor:
        await address_of(successor)
        assert all((await published_all(stack.kafka, ids)).values()), "accepted, so it must come out"


@pytest.mark.parametrize(
    ("name", "value", "status", "words"),
    [
        ("MILLRACE_KAFKA", NOBODY, 69, f"Kafka at {NOBODY}"),
        ("MILLRACE_REGISTRY", f"http://user:secret@{NOBODY}", 69, f"schema registry at http://{NOBODY}"),
        ("MILLRACE_POSTGRES", f"postgresql://user:secret@{NOBODY}/x", 69, "PostgreSQL does not answer"),
        ("MILLRACE_BLOBS", "/proc/nowhere", 78, "folder for uploads cannot be used"),
        ("MILLRACE_HTTP_PORT", "high", 78, "MILLRACE_HTTP_PORT"),
    ],
)
async def test_what_is_missing_at_start_is_one_sentence(
    environment: dict[str, str], name: str, value: str, status: int, words: str
) -> None:
    code, said = await failed_start(environment | {name: value})
    assert (code, words in said) == (status, True), said
    assert "secret" not in said


async def test_a_database_without_tables_is_a_configuration_error(
    environment: dict[str, str], empty_database: str
) -> None:
    code, said = await failed_start(environment | {"MILLRACE_POSTGRES": empty_database})
    assert code == 78
    assert "millrace database migrate" in said


async def test_a_port_that_is_taken_is_said(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = await failed_start(environment | {"MILLRACE_HTTP_PORT": str(taken.getsockname()[1])})
    assert code == 78
    assert "set MILLRACE_HTTP_HOST and MILLRACE_HTTP_PORT" in said


async def test_everything_that_is_not_set_is_named_at_once(environment: dict[str, str]) -> None:
    bare = {name: value for name, value in environment.items() if not name.startswith("MILLRACE_")}
    code, said = await failed_start(bare)
    assert code == 78
    assert all(f"MILLRACE_{name} " in said for name in ("KAFKA", "REGISTRY", "POSTGRES", "BLOBS"))
