"""Names become addresses in threads of their own.

Who chooses a name chooses how long its servers take to answer, up to half a minute. In the threads that a process
shares (`asyncio.to_thread`, and the event loop's own `getaddrinfo`) a few such names would stop every read and write
of a file; here they stop other fetches at most.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult

_THREADS = ThreadPoolExecutor(max_workers=32, thread_name_prefix="resolve")
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class SeparateResolver(AbstractResolver):
    """The machine's own resolver, in at most 32 threads for the whole process; more names wait their turn."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host.

        :raises OSError: it has none, or its servers do not answer.
        :raises UnicodeError: this is no name that can be asked for.
        """
        ask = partial(
            socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
        )
        found = await asyncio.get_running_loop().run_in_executor(_THREADS, ask)
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=proto, flags=_NUMERIC)
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Nothing: the threads are everybody's."""
