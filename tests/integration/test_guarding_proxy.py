"""The guarding proxy over real sockets, judged by a listener inside: nobody may ever reach it."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from aiohttp import ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult

from millrace.errors import Poison
from millrace.fetch.addresses import Reason
from millrace.fetch.proxy import GuardingProxy
from millrace.fetch.reach import Reach
from tests.support.listener import Listener, closed, listening, names
from tests.support.site import site

pytestmark = pytest.mark.timeout(60)
PUBLIC = "93.184.215.14"


@pytest.fixture
async def inside() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


def guarding(
    *ports: int,
    allow: frozenset[str] = frozenset(),
    max_bytes: int = 10_000_000,
    resolver: type[AbstractResolver] = ThreadedResolver,
) -> GuardingProxy:
    return GuardingProxy(Reach(allow, frozenset(ports), resolver), max_bytes=max_bytes, timeout_s=20, idle_s=5)


def credentials(proxy: GuardingProxy) -> str:
    parts = urlsplit(proxy.url)
    return base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()


async def sent(proxy: GuardingProxy, request: bytes, *, then_eof: bool = False) -> bytes:
    """What comes back for these bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(request)
        if then_eof:
            writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        await closed(writer)


async def asked(proxy: GuardingProxy, line: str, *headers: str, body: str = "") -> bytes:
    """What comes back for a request of whoever knows the password."""
    lines = (line, "Host: proxy", f"Proxy-Authorization: Basic {credentials(proxy)}", *headers, "", body)
    return await sent(proxy, "\r\n".join(lines).encode())


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


INSIDE: list[tuple[str, Reason]] = [
    ("127.0.0.1", "address"),
    ("127.255.255.254", "address"),
    ("0.0.0.0", "address"),  # noqa: S104 - connected to, it is this machine
    ("localhost", "address"),
    ("LOCALHOST.", "address"),
    ("10.0.0.1", "address"),
    ("172.16.0.1", "address"),
    ("192.168.0.1", "address"),
    ("169.254.169.254", "address"),
    ("100.64.0.1", "address"),
    ("224.0.0.1", "address"),
    ("255.255.255.255", "address"),
    ("[::1]", "address"),
    ("[::]", "address"),
    ("[::ffff:127.0.0.1]", "address"),
    ("[::ffff:7f00:1]", "address"),
    ("[::127.0.0.1]", "address"),
    ("[64:ff9b::7f00:1]", "address"),
    ("[64:ff9b:1::7f00:1]", "address"),
    ("[2002:7f00:1::]", "address"),
    ("[2001:0:7f00:1::]", "address"),
    ("[fe80::1]", "address"),
    ("[fc00::1]", "address"),
    ("[ff02::1]", "address"),
    ("2130706433", "form"),
    ("127.1", "form"),
    ("127.0.1", "form"),
    ("0177.0.0.1", "form"),
    ("0x7f.0.0.1", "form"),
    ("0x7f000001", "form"),
    ("0", "form"),
    ("127.0.0.1.", "address"),
    ("127.0.0.01", "form"),
    ("[::1%lo]", "form"),
    ("[::1%25lo]", "form"),
    ("[fe80::1%eth0]", "form"),
    ("user@127.0.0.1", "form"),
    ("public.example@127.0.0.1", "form"),
    ("127.0.0.1%00.example", "form"),
    ("%31%32%37.0.0.1", "form"),
    ("127.0.0.1#.example", "form"),
    ("127.0.0.1\\@public.example", "form"),
    ("[127.0.0.1]", "address"),
    ("", "form"),
    (".", "form"),
    ("inside.example", "address"),
    ("both.example", "address"),
    ("mapped.example", "address"),
]


@pytest.mark.parametrize("method", ["CONNECT", "GET", "HEAD", "POST"])
async def test_nothing_inside_is_ever_connected_to(inside: Listener, method: str) -> None:
    known = names(
        inside_example=[("127.0.0.1",)],
        both_example=[(PUBLIC, "127.0.0.1")],
        mapped_example=[("::ffff:127.0.0.1",)],
        localhost=[("127.0.0.1",)],
    )
    async with guarding(inside.port, resolver=known) as proxy:
        for host, reason in INSIDE:
            before = proxy.refused[reason]
            target = f"{host}:{inside.port}"
            line = f"{method} {target} HTTP/1.1" if method == "CONNECT" else f"{method} http://{target}/x HTTP/1.1"
            body = ("Content-Length: 0",) if method == "POST" else ()
            assert status(await asked(proxy, line, *body)) == 403, host
            assert proxy.refused[reason] == before + 1, host
    assert inside.came == []


@pytest.mark.parametrize("host", ["\uff11\uff12\uff17.0.0.1", "\u2460\u2461\u2466.0.0.1", "127\u30020\u30020\u30021"])
async def test_digits_of_other_scripts_are_no_request(inside: Listener, host: str) -> None:
    async with guarding(inside.port) as proxy:
        for line in (f"CONNECT {host}:{inside.port} HTTP/1.1", f"GET http://{host}:{inside.port}/ HTTP/1.1"):
            assert status(await asked(proxy, line)) in (400, 403, 502)
    assert inside.came == []


async def test_the_resolver_is_asked_once_and_its_first_answer_is_connected_to(inside: Listener) -> None:
    """Rebinding: the second answer leads inside, but nobody asks a second time."""
    known = names(rebound_example=[("192.0.2.1",), ("127.0.0.1",)], turned_example=[("127.0.0.1",), (PUBLIC,)])
    async with guarding(inside.port, resolver=known) as proxy:
        for host in ("rebound.example", "turned.example"):
            assert status(await asked(proxy, f"CONNECT {host}:{inside.port} HTTP/1.1")) == 403
    assert known.asked == ["rebound.example", "turned.example"]
    assert inside.came == []


async def test_other_ports_than_those_of_the_web_are_refused(inside: Listener) -> None:
    async with guarding(80, 443) as proxy:
        for port in (22, 25, 6379, 5432, inside.port):
            assert status(await asked(proxy, f"CONNECT {PUBLIC}:{port} HTTP/1.1")) == 403
        assert proxy.refused["port"] == 5
        for odd in ("", "0", "65536", "-1", "80 80", "+80", "8\u0660"):
            assert status(await asked(proxy, f"CONNECT {PUBLIC}:{odd} HTTP/1.1")) in (400, 403, 502)
    assert inside.came == []


async def test_a_name_that_cannot_be_is_refused_and_one_that_a_resolver_chokes_on_ends_its_connection() -> None:
    class Chokes(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            raise UnicodeError(host)

        async def close(self) -> None:
            pass

    async with guarding(443, resolver=Chokes) as proxy:
        for host in ("a..b", f"{'a' * 64}.example", ".a"):
            assert status(await asked(proxy, f"CONNECT {host}:443 HTTP/1.1")) == 403
        assert proxy.refused["form"] == 3
        assert status(await asked(proxy, "CONNECT good.example:443 HTTP/1.1")) == 502


async def test_so_many_connections_at_once_and_no_more() -> None:
    async def holds(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        await reader.read()
        open_now.discard(writer)
        writer.close()

    open_now: set[asyncio.StreamWriter] = set()
    server = await asyncio.start_server(holds, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    kept: list[asyncio.StreamWriter] = []
    async with (
        server,
        GuardingProxy(Reach(frozenset({place})), max_bytes=1000, timeout_s=20, idle_s=1) as proxy,
    ):
        head = f"CONNECT {place} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic {credentials(proxy)}\r\n\r\n"
        try:
            for _ in range(16):
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                kept.append(writer)
                writer.write(head.encode())
                assert b" 200 " in await reader.readline()
            assert status(await sent(proxy, head.encode())) == 502, "waited for a second, and in vain"
            assert len(open_now) == 16
            await closed(kept.pop())
            assert status(await sent(proxy, head.encode(), then_eof=True)) == 200
        finally:
            for writer in kept:
                await closed(writer)


async def test_nobody_without_the_password_is_served(inside: Listener) -> None:
    allow = frozenset({f"127.0.0.1:{inside.port}"})
    async with guarding(allow=allow) as proxy:
        right = credentials(proxy)
        wrong = ("", right[:-1], right + "A", base64.b64encode(b"millrace:").decode())
        for given in (None, *(f"Basic {one}" for one in wrong), f"Bearer {right}", right):
            header = f"Proxy-Authorization: {given}\r\n" if given is not None else ""
            request = f"CONNECT 127.0.0.1:{inside.port} HTTP/1.1\r\nHost: x\r\n{header}\r\n"
            assert status(await sent(proxy, request.encode())) == 407
        assert proxy.refused["password"] == 7
        assert not proxy.led_inside, "others of this machine cannot make a fetch look like a bad one"
        async with guarding(allow=allow) as other:
            assert credentials(other) != right, "each fetch has a password of its own"
    assert inside.came == []


async def test_other_schemes_and_methods_are_refused(inside: Listener) -> None:
    allow = frozenset({f"127.0.0.1:{inside.port}"})
    place = f"127.0.0.1:{inside.port}"
    async with guarding(allow=allow) as proxy:
        for line in (
            f"GET https://{place}/ HTTP/1.1",
            f"GET ftp://{place}/ HTTP/1.1",
            f"GET gopher://{place}/ HTTP/1.1",
            "GET file:///etc/passwd HTTP/1.1",
            f"GET //{place}/ HTTP/1.1",
            "GET / HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            f"TRACE http://{place}/ HTTP/1.1",
            f"PUT http://{place}/ HTTP/1.1",
            f"CONNECT http://{place}/ HTTP/1.1",
            f"CONNECT {place}/ HTTP/1.1",
        ):
            assert status(await asked(proxy, line)) == 403, line
    assert inside.came == []


NO_HTTP = (
    "GET http://{place}/\r\nGET http://{place}/ HTTP/1.1\r\n\r\n",
    "CONNECT {place}\r\n\r\n",
    "GET http://{place}/ HTTP/1.1\r\n{auth}\r\n\r\n",  # without a host
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "GET http://{place}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n{auth}\r\n\r\n",
    "POST http://{place}/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n{auth}\r\n\r\n",
    "GET http://{place}/ HTTP/1.1\r\nHost: a\r\nX: {long}\r\n{auth}\r\n\r\n",
    "GET http://{place}/ HTTP/1.1\r\nHost: a\r\nX : 1\r\n{auth}\r\n\r\n",
    "GET http://{place}/\x00 HTTP/1.1\r\nHost: a\r\n{auth}\r\n\r\n",
)


async def test_what_is_no_clean_http_goes_nowhere(inside: Listener) -> None:
    place = f"127.0.0.1:{inside.port}"
    async with guarding(allow=frozenset({place})) as proxy:
        auth = f"Proxy-Authorization: Basic {credentials(proxy)}"
        for template in NO_HTTP:
            request = template.replace("{place}", place).replace("{auth}", auth).replace("{long}", "y" * 300_000)
            try:
                answer = await sent(proxy, request.encode("latin-1"), then_eof=True)
            except ConnectionError:
                answer = b""
            assert b" 200 " not in answer.partition(b"\r\n")[0], template
    assert inside.came == []


async def test_one_request_a_connection_and_its_head_is_written_anew() -> None:
    heads: list[tuple[str, dict[str, str]]] = []

    async def answer(request: web.Request) -> web.Response:
        heads.append((request.path_qs, {name.lower(): value for name, value in request.headers.items()}))
        return web.Response(text=await request.text() or "nothing", headers={"Connection": "X-Hop", "X-Hop": "1"})

    async with site(answer) as port, guarding(allow=frozenset({f"127.0.0.1:{port}"})) as proxy:
        url = f"http://127.0.0.1:{port}/a?b=c"
        hop = ("Connection: keep-alive, X-Private", "X-Private: 1", "Keep-Alive: 5", "TE: trailers", "X-Kept: 2")
        second = f"GET http://127.0.0.1:{port}/second HTTP/1.1\r\nHost: x\r\n\r\n"
        reply = await asked(proxy, f"GET {url} HTTP/1.1", *hop, body=second)
        assert status(reply) == 200
        assert b"x-hop" not in reply.lower()
        assert reply.count(b"HTTP/1.1") == 1
        chunked = ("Transfer-Encoding: chunked", "Content-Length: 999")
        body = f"4\r\nbody\r\n0\r\n\r\n{second}"
        assert (await asked(proxy, f"POST {url} HTTP/1.1", *chunked, body=body)).endswith((b"body", b"0\r\n\r\n"))
    assert [path for path, _ in heads] == ["/a?b=c", "/a?b=c"]
    assert heads[0][1].keys() == {"host", "x-kept", "connection"}
    assert heads[0][1]["host"] == f"127.0.0.1:{port}"
    assert "proxy-authorization" not in heads[1][1]
    assert "content-length" not in heads[1][1]


async def test_a_tunnel_carries_both_ways_to_an_allowed_place() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data.upper())
        await closed(writer)

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, guarding(allow=frozenset({f"127.0.0.1:{port}"})) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        auth = f"Proxy-Authorization: Basic {credentials(proxy)}"
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n{auth}\r\n\r\nearly ".encode())
        assert status(await reader.readuntil(b"\r\n\r\n")) == 200
        writer.write(b"late")
        assert await reader.readexactly(10) == b"EARLY LATE"
        assert proxy.bytes == 20
        await closed(writer)


async def test_too_many_bytes_end_all_connections_of_the_fetch() -> None:
    written = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(100_000))
            written += 100_000

    async with site(endless) as port:
        async with guarding(allow=frozenset({f"127.0.0.1:{port}"}), max_bytes=3_000_000) as proxy:
            lines = [f"GET http://127.0.0.1:{port}/{n} HTTP/1.1" for n in range(2)]
            await asyncio.gather(*(asked(proxy, line) for line in lines), return_exceptions=True)
            assert isinstance(proxy.ended.result(), Poison)
            assert "more than the 3 MB" in str(proxy.ended.result())
            with pytest.raises((ConnectionError, EOFError, IndexError)):
                status(await asked(proxy, lines[0]))
        # What lies in the buffers of four sockets was sent, too.
        assert written < 3_000_000 + 16_000_000


async def test_the_time_of_a_fetch_ends_its_connections() -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with site(silent) as port:
        allow = frozenset({f"127.0.0.1:{port}"})
        proxy = GuardingProxy(Reach(allow), max_bytes=1000, timeout_s=0.3, idle_s=5)
        async with proxy:
            answer = await asked(proxy, f"GET http://127.0.0.1:{port}/ HTTP/1.1")
            assert answer == b"" or status(answer) == 502


async def test_who_says_nothing_is_not_waited_for() -> None:
    async with GuardingProxy(Reach(), max_bytes=1000, timeout_s=20, idle_s=0.2) as proxy:
        answer = await sent(proxy, b"GET http://exa")
        assert answer == b"" or status(answer) in (408, 502)
