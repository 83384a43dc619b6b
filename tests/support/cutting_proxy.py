"""A proxy that cuts connections off in the middle of what the server sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class CuttingProxy:
    """Forwards bytes; of each of the next `cuts` connections it passes `after` bytes of answer on, then resets it."""

    def __init__(self, target: str, after: int) -> None:
        address = urlsplit(target)
        self._host, self._port = address.hostname or "", address.port or 0
        self.after = after
        self.cuts = 0
        self.done = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        upstream, downstream = await asyncio.open_connection(self._host, self._port)
        asking = asyncio.create_task(_copy(reader, downstream))
        passed = 0
        with suppress(ConnectionError):
            while chunk := await upstream.read(1 << 16):
                if self.cuts and passed + len(chunk) > self.after:
                    writer.write(chunk[: self.after - passed])
                    await writer.drain()
                    self.cuts -= 1
                    self.done += 1
                    break
                passed += len(chunk)
                writer.write(chunk)
                await writer.drain()
        asking.cancel()
        for one in (writer, downstream):
            one.close()
            with suppress(ConnectionError):
                await one.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(1 << 16):
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
