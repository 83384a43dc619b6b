"""Names whose servers take their time: what else the agent does goes on."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import Retryable
from millrace.fetch.addresses import Target
from millrace.fetch.connect import connect
from millrace.fetch.http import HttpFetcher
from millrace.fetch.reach import Reach
from millrace.fetch.resolver import SeparateResolver
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(60)
NAMES = 50  # more than any event loop has threads


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names that were asked for; none is answered before the end of the test."""
    asked: list[str] = []
    end = threading.Event()

    def getaddrinfo(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        end.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    end.set()


def directly(folder: Path, name: str) -> Coroutine[Any, Any, object]:
    fetcher = HttpFetcher(Reach(), max_bytes=1000, timeout_s=5, idle_s=5)
    return fetcher.fetch(f"http://{name}/", folder / name)


def through_the_proxy(_: Path, name: str) -> Coroutine[Any, Any, object]:
    return connect(Target(name, 80, allowed=False), SeparateResolver(), timeout_s=5)


@pytest.mark.parametrize("way", [directly, through_the_proxy])
async def test_names_that_are_not_answered_stop_no_other_work(
    slow: list[str], tmp_path: Path, way: Callable[[Path, str], Coroutine[Any, Any, object]]
) -> None:
    tasks = [asyncio.create_task(way(tmp_path, f"n{number}.example")) for number in range(NAMES)]
    try:
        await eventually(lambda: len(slow) >= 6, "names to be asked for")
        async with asyncio.timeout(2):
            await asyncio.to_thread((tmp_path / "file").write_text, "written")
        assert len(slow) <= 32
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, Retryable | OSError | asyncio.CancelledError) for one in ended)


async def test_names_of_this_machine_are_resolved() -> None:
    found = await SeparateResolver().resolve("localhost", 80, socket.AF_UNSPEC)
    assert {one["host"] for one in found} <= {"127.0.0.1", "::1"}
    assert {one["port"] for one in found} == {80}
    with pytest.raises(UnicodeError):
        await SeparateResolver().resolve("a..b")
