"""Connecting to what was checked: a name is resolved once, and nothing in between resolves it again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from millrace.fetch.addresses import NOT_PUBLIC, Target, TargetRefused, is_address, is_public

_SHUT_S = 2.0
_FROM_SERVER = 1024 * 1024  # bytes of a receive buffer: 10 MB/s at 100 ms
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Watch = Callable[[int], Awaitable[None]]
"""Told how many bytes came so far, while nothing more is read; what it raises ends the fetch."""


class CheckedResolver(AbstractResolver):
    """Resolves through another resolver, and refuses a name when any of its addresses is not public."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        :raises TargetRefused: one of them is not public.
        """
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(address["host"]) for address in found):
            raise TargetRefused(NOT_PUBLIC, "address")
        return found

    async def close(self) -> None:
        """Close the resolver behind."""
        await self._resolver.close()


async def connect(target: Target, resolver: AbstractResolver, *, timeout_s: float) -> Streams:
    """Connect to the first address of a target that answers.

    :param timeout_s: for resolving, and for each address.
    :raises TargetRefused: one of its addresses is not public; none was connected to.
    :raises OSError: its name cannot be resolved, or nothing answers.
    """
    async with asyncio.timeout(timeout_s):
        addresses = await _addresses(target, resolver)
    error: OSError = OSError("no address")
    for address in addresses:
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await _open(address, target.port)
        except OSError as exc:  # TimeoutError is one
            error = exc
            continue
        if not target.allowed and not is_public(str(writer.get_extra_info("peername")[0])):
            await shut(writer)
            raise TargetRefused(NOT_PUBLIC, "address")
        return reader, writer
    raise error


async def _open(address: str, port: int) -> Streams:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        # Set before connecting, or the window could not be scaled; the kernel would let it grow to many times this.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _FROM_SERVER)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
        return await asyncio.open_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


async def _addresses(target: Target, resolver: AbstractResolver) -> list[str]:
    if is_address(target.host):
        addresses = [target.host]
    else:
        found = await resolver.resolve(target.host, target.port, socket.AF_UNSPEC)
        addresses = [address["host"] for address in found]
    if not target.allowed and not all(map(is_public, addresses)):
        raise TargetRefused(NOT_PUBLIC, "address")
    return addresses


async def shut(writer: asyncio.StreamWriter) -> None:
    """Close a connection once what was written is sent; one whose other end takes nothing is cut off."""
    writer.close()
    try:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_SHUT_S):
                await writer.wait_closed()
    finally:
        writer.transport.abort()
