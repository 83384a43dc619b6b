"""Fetching over http(s), and only from the public internet.

A check of the URL alone is not enough: names resolve to anything, and servers redirect. So redirects are followed
here, one by one; each hop's name is resolved once, all its addresses are checked, and the connection goes to exactly
those. Nothing in between resolves again. The socket itself is checked once more: the client has its own idea of what
an address is and goes to one without resolving it (`127.0.0.1` in full-width digits, `::1%lo`).
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO

import aiohttp
from aiohttp import AddrInfoType
from yarl import URL

import millrace
from millrace.errors import Poison, Retryable, Unavailable
from millrace.fetch.addresses import NOT_PUBLIC, Target, TargetRefused, is_public, target_of
from millrace.fetch.connect import CheckedResolver
from millrace.fetch.reach import Reach
from millrace.http import retry_after_s

_MAX_REDIRECTS = 5
_CHUNK = 1 << 20
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_HEADERS = {
    "User-Agent": f"millrace/{millrace.__version__}",
    # Compressed answers could unpack to any size; media gains nothing from compression.
    "Accept-Encoding": "identity",
}

_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_PLAYLISTS = frozenset(
    {
        "application/vnd.apple.mpegurl",
        "application/x-mpegurl",
        "audio/mpegurl",
        "audio/x-mpegurl",
        "application/dash+xml",
    }
)
_LOOKED_AT = 1024  # bytes of a file that say what it is


@dataclass(frozen=True)
class Fetched:
    """A file and what it is: `sha256` as 64 hex digits, and its size."""

    sha256: str
    size_bytes: int


Told = Callable[[int, int | None], Awaitable[None]]
"""Told how many bytes came so far, and how many the server has said there are; what it raises ends the fetch."""


class NotAFile(Poison):
    """The URL holds no media itself, but a page or a playlist that may lead to some."""

    def __init__(self, what: str) -> None:
        super().__init__(f"this URL is {what}, not a media file: share the address of the file itself")


def leads_elsewhere(content_type: str, start: bytes) -> str | None:
    """What an answer is that is no media itself (`a web page`, `a playlist`); None for a file.

    :param start: the beginning of its content, which counts for more than what its server calls it.
    """
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"#extm3u") or (text.startswith((b"<?xml", b"<mpd")) and b"<mpd" in text):
        return "a playlist"
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if content_type.lower() in _PLAYLISTS:
        return "a playlist"
    return "a web page" if content_type.lower() in _PAGES else None


def public_socket(address: AddrInfoType) -> socket.socket:
    """A socket for an address that is about to be connected to.

    :raises TargetRefused: the address is not public.
    """
    family, kind, protocol, _, where = address
    if not is_public(str(where[0])):
        raise TargetRefused(NOT_PUBLIC, "address")
    return socket.socket(family=family, type=kind, proto=protocol)


class HttpFetcher:
    """Fetches files of media.

    :param max_bytes: more than this is not read.
    :param timeout_s: limit for all of a fetch, redirects included.
    :param idle_s: limit for connecting, and for every silence of the server.
    """

    def __init__(self, reach: Reach, *, max_bytes: int, timeout_s: float, idle_s: float) -> None:
        self._reach = reach
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._idle = aiohttp.ClientTimeout(total=None, connect=idle_s, sock_read=idle_s)

    async def fetch(self, url: str, into: Path, told: Told | None = None) -> Fetched:
        """Follow at most five redirects and read at most `max_bytes`.

        :raises NotAFile: it is a page or a playlist.
        :raises TargetRefused: it leads to where nothing is fetched from.
        :raises Poison: there is nothing to be had, or it is too large.
        :raises Retryable: the server does not answer, or not now.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, into, told)
        # Not chained: some quote the URL that a server has redirected to, which may hold a token.
        except TimeoutError:
            raise Retryable("the server of this URL does not answer in time") from None
        except aiohttp.ClientConnectorDNSError:
            raise Retryable("the host name of this URL cannot be resolved") from None
        except ValueError:  # InvalidURL is one; redirects and host names that cannot be written raise others
            raise Poison("this is not a URL that can be fetched") from None
        except aiohttp.ClientError as exc:
            raise Retryable(f"the server of this URL does not answer properly ({type(exc).__name__})") from None

    async def _follow(self, url: str, into: Path, told: Told | None) -> Fetched:
        for _ in range(_MAX_REDIRECTS + 1):
            target = target_of(url, self._reach.allow, self._reach.ports)
            # A session for each hop: no cookie, connection or address is carried from one to the next.
            async with (
                self._session(target) as session,
                session.get(url, allow_redirects=False, headers=_HEADERS) as response,
            ):
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    _check_answer(response)
                    return await self._read(response, into, told)
                url = str(URL(url).join(URL(location)))
        raise Poison(f"this URL redirects more than {_MAX_REDIRECTS} times")

    def _session(self, target: Target) -> aiohttp.ClientSession:
        resolver = self._reach.resolver()
        connector = aiohttp.TCPConnector(
            resolver=resolver if target.allowed else CheckedResolver(resolver),
            socket_factory=None if target.allowed else public_socket,
            use_dns_cache=False,
            force_close=True,
        )
        # No proxy and no .netrc from the environment: they would move the connection past the check.
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._idle,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _read(self, response: aiohttp.ClientResponse, into: Path, told: Told | None) -> Fetched:
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()
        start = await _start(response)
        if what := leads_elsewhere(response.content_type, start):
            raise NotAFile(what)
        digest = hashlib.sha256()
        size = 0
        try:
            with await asyncio.to_thread(into.open, "wb") as file:
                chunk = start
                while chunk:
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise self._too_large()
                    await asyncio.to_thread(_keep, chunk, file, digest)
                    if told is not None:
                        await told(size, response.content_length)
                    chunk = await response.content.read(_CHUNK)
        except OSError as exc:
            if isinstance(exc, aiohttp.ClientError | TimeoutError):
                raise
            raise Unavailable(f"fetched media cannot be written: {exc.strerror or exc}") from exc
        return Fetched(digest.hexdigest(), size)

    def _too_large(self) -> Poison:
        return Poison(f"this media is larger than the {self._max_bytes / 1e6:g} MB that are taken")


def _check_answer(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status in _GONE:
        raise Poison(f"there is nothing at this URL (HTTP {status})")
    if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = retry_after_s(response.headers.get("Retry-After"))
        raise Retryable(f"the server of this URL has no answer now (HTTP {status})", retry_after_s=wait)
    if status != HTTPStatus.OK:
        raise Poison(f"the server of this URL does not give it out (HTTP {status})")


async def _start(response: aiohttp.ClientResponse) -> bytes:
    start = b""
    while len(start) < _LOOKED_AT and (chunk := await response.content.read(_LOOKED_AT - len(start))):
        start += chunk
    return start


def _keep(chunk: bytes, file: IO[bytes], digest: hashlib._Hash) -> None:
    file.write(chunk)
    file.flush()  # whoever watches looks into it
    digest.update(chunk)
