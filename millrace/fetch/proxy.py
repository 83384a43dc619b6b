"""An HTTP proxy for one fetch: whoever can reach nothing but it reaches the public internet and nothing else.

It listens on loopback and asks for a password that only its fetch knows. The checks are made here, where connections
are made: the name is resolved once, all its addresses are checked, and exactly those are connected to. What goes
through is counted over all connections, and all of them end when it is too much.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import socket
from collections import Counter
from types import TracebackType
from typing import Self

import h11

from millrace.errors import MillraceError, Poison
from millrace.fetch.addresses import Reason, TargetRefused
from millrace.fetch.connect import Watch, connect, shut
from millrace.fetch.reach import Reach
from millrace.fetch.relay import CONNECT, Client, relay, requested, tunnel

_USER = "millrace"
_AT_ONCE = 16
"""Connections of one fetch to the outside; further ones wait, as long as a server may be silent."""
_TO_CHILD = 256 * 1024  # bytes of a send buffer


class GuardingProxy:
    """Serves the connections of one fetch, from `async with` to its end.

    :param max_bytes: of all connections together, in both directions.
    :param timeout_s: all connections end after so long.
    :param idle_s: limit for a request's head, for resolving and for connecting.
    """

    def __init__(self, reach: Reach, *, max_bytes: int, timeout_s: float, idle_s: float) -> None:
        self._reach = reach
        self._max_bytes, self._timeout_s, self._idle_s = max_bytes, timeout_s, idle_s
        self._password = secrets.token_urlsafe(32)
        self._credentials = b"Basic " + base64.b64encode(f"{_USER}:{self._password}".encode())
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: Watch | None = None
        self._turn = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.bytes = 0
        """What went through so far."""
        self.refused: Counter[Reason] = Counter()
        """How often a target was refused."""
        self.refusal: TargetRefused | None = None
        """Why the latest was, for its port or its form."""
        self.ended: asyncio.Future[MillraceError] = asyncio.get_running_loop().create_future()
        """Why everything was ended, once it was: too many bytes, or what the watch has raised."""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._resolver = self._reach.resolver()
        self._deadline = asyncio.get_running_loop().time() + self._timeout_s
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all connections."""
        del kind, error, trace
        self._server.close()
        self._stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._resolver.close()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """For clients; holds the password."""
        return f"http://{_USER}:{self._password}@127.0.0.1:{self.port}"

    @property
    def led_inside(self) -> bool:
        """Whether a target was refused for its address. An odd port may be anything: an advertisement, too."""
        return self.refused["address"] > 0

    def watch(self, watch: Watch) -> None:
        """Have all that comes from now on watched by somebody."""
        self._watch = watch

    async def took(self, count: int) -> None:
        """Count bytes that came or went.

        :raises MillraceError: it is enough; all connections end.
        """
        self.bytes += count
        try:
            if self.bytes > self._max_bytes:
                raise Poison(f"this URL sends more than the {self._max_bytes / 1e6:g} MB that are read for it")
            if self._watch is not None:
                async with self._turn:
                    await self._watch(self.bytes)
        except MillraceError as exc:
            if not self.ended.done():
                self.ended.set_result(exc)
            self._stop()
            raise

    def _stop(self) -> None:
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self.ended.done():
            writer.close()
            return
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # What waits between here and the child is in no file yet, where the watch could see it.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _TO_CHILD)
        client = Client((reader, writer))
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._exchange(client)
        except TargetRefused as exc:
            self.refused[exc.reason] += 1
            if exc.reason in ("port", "form"):
                self.refusal = exc
            await client.refuse(407 if exc.reason == "password" else 403)
        except (OSError, EOFError, ValueError, h11.ProtocolError, MillraceError):
            # Either end went away, spoke no HTTP, asked for a name that cannot be, or it was enough: the end tells.
            await client.refuse(502)
        except asyncio.CancelledError:
            writer.transport.abort()  # the end of the fetch: asyncio's server would log it as an error of ours
        finally:
            await shut(writer)

    async def _exchange(self, client: Client) -> None:
        async with asyncio.timeout(self._idle_s):
            request = await client.request()
        given = dict(request.headers).get(b"proxy-authorization", b"")
        if not hmac.compare_digest(given, self._credentials):
            raise TargetRefused("this proxy serves one fetch only, which knows its password", "password")
        target, path = requested(request, self._reach.allow, self._reach.ports)
        async with asyncio.timeout(self._idle_s):
            await self._slots.acquire()
        try:
            there = await connect(target, self._resolver, timeout_s=self._idle_s)
            try:
                if request.method == CONNECT:
                    await tunnel(client, there, self.took)
                else:
                    await relay(client, request, path, there, self.took)
            finally:
                await shut(there[1])
        finally:
            self._slots.release()
