"""One exchange through the proxy: a tunnel, or one request that is written anew.

Nothing of a request's head is passed on as it came: h11 reads it, and h11 writes another one from what is left. So no
two readers can understand it differently (request smuggling), and each connection carries one request only.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable

import h11

from millrace.fetch.addresses import Target, TargetRefused, target_of_authority
from millrace.fetch.connect import Streams

CONNECT = b"CONNECT"
_METHODS = frozenset({b"GET", b"HEAD", b"POST"})
_ABSOLUTE = re.compile(r"http://([^/?#]*)([/?][^#]*)?", re.IGNORECASE)
_CHUNK = 1 << 16
_LONGEST_HEAD = 1 << 16
# RFC 9110, 7.6.1, and what belongs to this proxy. The body's framing is made anew, too.
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"}
    | {b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"}
)

Took = Callable[[int], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Client:
    """The end of a connection that asks."""

    def __init__(self, streams: Streams) -> None:
        self.reader, self.writer = streams
        self.http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)

    async def request(self) -> h11.Request:
        """The request's head.

        :raises EOFError: there is none.
        :raises h11.ProtocolError: it is not HTTP.
        """
        match await next_event(self.http, self.reader):
            case h11.Request() as request:
                return request
        raise EOFError

    async def send(self, event: h11.Event) -> None:
        """Send a part of the answer."""
        if data := self.http.send(event):
            self.writer.write(data)
            await self.writer.drain()

    async def refuse(self, status: int) -> None:
        """Answer with nothing but a status, if no answer has begun."""
        if self.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [("Content-Length", "0"), ("Connection", "close")]
        if status == 407:
            headers.append(("Proxy-Authenticate", 'Basic realm="millrace"'))
        with contextlib.suppress(OSError, h11.ProtocolError):
            await self.send(h11.Response(status_code=status, headers=headers))
            await self.send(h11.EndOfMessage())


def requested(request: h11.Request, allow: frozenset[str], ports: frozenset[int]) -> tuple[Target, str]:
    """Where a request wants to go, and the path that it asks for there (empty for a tunnel).

    :raises TargetRefused: it wants to go where nothing is fetched from, or is none for a proxy.
    """
    wanted = request.target.decode("ascii", "replace")
    if request.method == CONNECT:
        return target_of_authority(wanted, allow, ports), ""
    found = _ABSOLUTE.fullmatch(wanted)
    if found is None or request.method not in _METHODS:
        raise TargetRefused("only http requests and tunnels go through this proxy", "form")
    authority, path = found[1], found[2] or "/"
    return target_of_authority(authority, allow, ports, default_port=80), path if path[0] == "/" else f"/{path}"


async def tunnel(client: Client, there: Streams, took: Took) -> None:
    """Carry bytes both ways until either end closes."""
    client.writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    first, _ = client.http.trailing_data
    await took(len(first))
    there[1].write(first)
    ways = (_carry(client.reader, there[1], took), _carry(there[0], client.writer, took))
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def relay(client: Client, request: h11.Request, path: str, there: Streams, took: Took) -> None:
    """Send one request on, and its answer back."""
    server = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
    reader, writer = there

    async def send(event: h11.Event) -> None:
        if data := server.send(event):
            writer.write(data)
            await writer.drain()
            await took(len(data))

    authority = _ABSOLUTE.fullmatch(request.target.decode("ascii"))
    host = authority[1].encode() if authority else b""
    framing = [item for item in request.headers if item[0] == b"transfer-encoding"]
    made_anew = {b"host", b"content-length"} if framing else {b"host"}
    kept = [(name, value) for name, value in _end_to_end(request.headers) if name not in made_anew]
    headers = [(b"host", host), *kept, *framing, (b"connection", b"close")]
    await send(h11.Request(method=request.method, target=path, headers=headers))
    while not isinstance(event := await next_event(client.http, client.reader), h11.EndOfMessage):
        await send(event)
    await send(h11.EndOfMessage())
    while not isinstance(event := await next_event(server, reader, took), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            answer = [*_end_to_end(event.headers), (b"connection", b"close")]
            await client.send(h11.Response(status_code=event.status_code, headers=answer, reason=event.reason))
        elif isinstance(event, h11.Data):
            await client.send(h11.Data(data=event.data))
    await client.send(h11.EndOfMessage())


async def next_event(http: h11.Connection, reader: asyncio.StreamReader, took: Took | None = None) -> h11.Event:
    """The next event of a connection.

    :raises EOFError: it has ended.
    :raises h11.ProtocolError: what came is not HTTP.
    """
    while (event := http.next_event()) is h11.NEED_DATA:
        data = await reader.read(_CHUNK)
        if took is not None:
            await took(len(data))
        http.receive_data(data)
    match event:
        case h11.ConnectionClosed() | h11.PAUSED:
            raise EOFError
        case h11.Event():
            return event
    raise AssertionError(event)


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers without those that are about one connection, and without those that `Connection` names."""
    listed = list(headers)
    named = {token.strip().lower() for name, value in listed if name == b"connection" for token in value.split(b",")}
    return [(name, value) for name, value in listed if name not in _HOP_BY_HOP and name not in named]


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, took: Took) -> None:
    while data := await source.read(_CHUNK):
        await took(len(data))
        target.write(data)
        await target.drain()
