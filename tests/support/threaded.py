"""Something that runs on an event loop, for tests which have none."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TypeVar

import uvicorn

from tests.support.waiting import eventually

T = TypeVar("T")


@contextmanager
def in_a_thread(opened: AbstractAsyncContextManager[T], within_s: float = 60.0) -> Iterator[T]:
    """Open it on a loop of its own in a thread of its own, which runs until the test is over."""
    ready: Future[T] = Future()
    over = threading.Event()

    async def run() -> None:
        async with opened as found:
            ready.set_result(found)
            await asyncio.to_thread(over.wait)

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as exc:
            if ready.done():
                raise
            ready.set_exception(exc)

    running = threading.Thread(target=thread)
    running.start()
    try:
        yield ready.result(within_s)
    finally:
        over.set()
        running.join(within_s)
        assert not running.is_alive(), "it does not end"


@asynccontextmanager
async def serving(config: uvicorn.Config) -> AsyncIterator[str]:
    """The URL of an application that is served, without any handling of signals."""
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        running = asyncio.create_task(server._serve(sockets=[bound]))
        try:
            await eventually(lambda: server.started or running.done(), "the server")
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await running
