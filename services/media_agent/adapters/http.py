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
from http import HTTPStatus
from pathlib import Path
from typing import IO

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

import millrace
from millrace.errors import Poison, Retryable, Unavailable
from millrace.http import retry_after_s
from services.media_agent.domain import NOT_PUBLIC, PUBLIC_PORTS, Fetched, Target, is_public, target_of

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


def public_socket(address: AddrInfoType) -> socket.socket:
    """A socket for an address that is about to be connected to.

    :raises Poison: the address is not public.
    """
    family, kind, protocol, _, where = address
    if not is_public(str(where[0])):
        raise Poison(NOT_PUBLIC)
    return socket.socket(family=family, type=kind, proto=protocol)


class CheckedResolver(AbstractResolver):
    """Resolves through another resolver, and refuses a name when any of its addresses is not public."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        :raises Poison: one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(address["host"]) for address in found):
            raise Poison(NOT_PUBLIC)
        return found

    async def close(self) -> None:
        """Close the resolver behind."""
        await self._resolver.close()


class HttpFetcher:
    """Fetches media; implements `Fetcher`.

    :param allow: `host:port` pairs that are fetched from whatever their address.
    :param max_bytes: more than this is not read.
    :param timeout_s: limit for all of a fetch, redirects included.
    :param idle_s: limit for connecting, and for every silence of the server.
    :param ports: that media is served on, for hosts that are not in `allow`.
    :param resolver: turns names into addresses; the machine's own by default.
    """

    def __init__(
        self,
        *,
        allow: frozenset[str],
        max_bytes: int,
        timeout_s: float,
        idle_s: float,
        ports: frozenset[int] = PUBLIC_PORTS,
        resolver: type[AbstractResolver] = aiohttp.ThreadedResolver,
    ) -> None:
        self._allow = allow
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._idle = aiohttp.ClientTimeout(total=None, connect=idle_s, sock_read=idle_s)
        self._ports = ports
        self._resolver = resolver

    async def fetch(self, url: str, into: Path) -> Fetched:
        """Follow at most five redirects and read at most `max_bytes`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._follow(url, into)
        except TimeoutError as exc:
            raise Retryable("the server of this URL does not answer in time") from exc
        except aiohttp.ClientConnectorDNSError as exc:
            raise Retryable("the host name of this URL cannot be resolved") from exc
        except ValueError as exc:  # InvalidURL is one; redirects and host names that cannot be written raise others
            raise Poison("this is not a URL that can be fetched") from exc
        except aiohttp.ClientError as exc:
            raise Retryable(f"the server of this URL does not answer properly ({type(exc).__name__})") from exc

    async def _follow(self, url: str, into: Path) -> Fetched:
        for _ in range(_MAX_REDIRECTS + 1):
            target = target_of(url, self._allow, self._ports)
            # A session for each hop: no cookie, connection or address is carried from one to the next.
            async with (
                self._session(target) as session,
                session.get(url, allow_redirects=False, headers=_HEADERS) as response,
            ):
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    _check_answer(response)
                    return await self._read(response, into)
                url = str(URL(url).join(URL(location)))
        raise Poison(f"this URL redirects more than {_MAX_REDIRECTS} times")

    def _session(self, target: Target) -> aiohttp.ClientSession:
        resolver = self._resolver()
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

    async def _read(self, response: aiohttp.ClientResponse, into: Path) -> Fetched:
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()
        digest = hashlib.sha256()
        size = 0
        try:
            with await asyncio.to_thread(into.open, "wb") as file:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise self._too_large()
                    await asyncio.to_thread(_keep, chunk, file, digest)
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
    if response.content_type == "text/html":
        raise Poison("this URL is a web page, not a media file: share the address of the file itself")


def _keep(chunk: bytes, file: IO[bytes], digest: hashlib._Hash) -> None:
    file.write(chunk)
    digest.update(chunk)
