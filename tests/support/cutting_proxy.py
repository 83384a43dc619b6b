"""A proxy that cuts connections off in the middle of what the server sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class CuttingProxy:
    """Forwards bytes; `cuts` times it passes at most `after` bytes of a connection's answers on, then cuts it off.

    `asked` is everything that clients have sent.
    """

    def __init__(self, target: str, after: int) -> None:
        address = urlsplit(target)
        self._host, self._port = address.hostname or "", address.port or 0
        self.after = after
        self.cuts = 0
        self.done = 0
        self.asked = bytearray()
        self.url = ""
        self.connections: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                await self._forward(reader, writer)
        finally:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(self._host, self._port)
        asking = asyncio.create_task(self._ask(reader, downstream))
        passed = 0
        try:
            while chunk := await upstream.read(1 << 16):
                cut = self.cuts > 0 and passed + len(chunk) > self.after
                writer.write(chunk[: max(0, self.after - passed)] if cut else chunk)
                await writer.drain()
                if cut:
                    self.cuts -= 1
                    self.done += 1
                    return
                passed += len(chunk)
        finally:
            downstream.transport.abort()
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(1 << 16):
                self.asked += chunk
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def cutting(target: str, *, after: int) -> AsyncIterator[CuttingProxy]:
    """A proxy before the server of a URL."""
    proxy = CuttingProxy(target, after)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        server.close()
        open_ones = list(proxy.connections)
        for connection in open_ones:
            connection.cancel()
        await asyncio.gather(*open_ones)
