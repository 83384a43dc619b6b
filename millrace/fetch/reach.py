"""What may be reached."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp.abc import AbstractResolver

from millrace.fetch.addresses import PUBLIC_PORTS
from millrace.fetch.resolver import SeparateResolver


@dataclass(frozen=True)
class Reach:
    """Which servers are connected to; never those at addresses that are not public, but for the allowed ones.

    `allow` are `host:port` pairs that are exempt from the rules, `ports` those that other servers are reached on.
    `resolver` turns names into addresses.
    """

    allow: frozenset[str] = frozenset()
    ports: frozenset[int] = PUBLIC_PORTS
    resolver: type[AbstractResolver] = SeparateResolver
