"""A place inside that nobody from outside may reach: a listening socket that counts who came."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp.abc import AbstractResolver, ResolveResult


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection, whatever became of it."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class Listener:
    """Notes every connection, and answers it as a careless service would."""

    def __init__(self) -> None:
        self.port = 0
        self.came: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came.append(b"")  # the connection itself is too much
        at = len(self.came) - 1
        with contextlib.suppress(OSError):
            async with asyncio.timeout(2):
                self.came[at] = await reader.read(1000)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Type: video/mp4\r\n\r\nsecret")
            await writer.drain()
        await closed(writer)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """On the same port of 127.0.0.1 and, where there is one, of ::1."""
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    servers = [server]
    with contextlib.suppress(OSError):  # no IPv6 here: what leads there cannot be reached in any case
        servers.append(await asyncio.start_server(listener.serve, "::1", listener.port))
    try:
        yield listener
    finally:
        for one in servers:
            one.close()


class Names(AbstractResolver):
    """A name server in the hands of a test: what it answers by name, each time the next of a list."""

    answers: dict[str, list[tuple[str, ...]]] = {}  # noqa: RUF012 - replaced by `names`
    asked: list[str] = []  # noqa: RUF012 - likewise

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        told = self.answers.get(host)
        if not told:
            raise OSError(f"no such name: {host}")
        addresses = told.pop(0) if len(told) > 1 else told[0]
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in addresses
        ]

    async def close(self) -> None:
        pass


def names(**answers: list[tuple[str, ...]]) -> type[Names]:
    """A resolver class that knows these names (`_` stands for a dot)."""
    known = {name.replace("_", "."): told for name, told in answers.items()}
    return type("KnownNames", (Names,), {"answers": known, "asked": []})
