"""Where a URL leads, and which addresses are the public internet. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Literal
from urllib.parse import urlsplit

from millrace.errors import Poison

PUBLIC_PORTS = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_URL = 4096

# Global by `ipaddress`, yet not the public internet: protocol assignments, a cloud's own agent, 6to4 relays.
_NOT_PUBLIC_4 = tuple(map(ip_network, ("192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24")))
_UNICAST_6 = ip_network("2000::/3")
# Inside 2000::/3: tunnels that carry an IPv4 address of anybody's choice, and documentation.
_NOT_PUBLIC_6 = tuple(map(ip_network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))

NOT_PUBLIC = "media is fetched from public internet addresses only, and this URL leads to another one"

# Letters, digits, hyphens and underscores: what is in the name system. No zone, no user, no percent, no other script.
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,254}))(?::([0-9]{1,5}))?")
_LONGEST_LABEL = 63  # RFC 1035, 2.3.4; longer and empty ones cannot even be asked for
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LAST_PORT = 65_535

Reason = Literal["form", "port", "address", "password"]
"""Why a target was refused, for metrics: it cannot be read, its port, its address; or who asked has no password."""


class TargetRefused(Poison):
    """The target is none that is fetched from; nothing was connected to."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Final = reason


@dataclass(frozen=True)
class Target:
    """Where a request goes; `allowed` hosts are exempt from the rules about addresses and ports."""

    host: str
    port: int
    allowed: bool


def target_of(url: str, allow: frozenset[str], ports: frozenset[int] = PUBLIC_PORTS) -> Target:
    """Where a URL leads.

    :param allow: `host:port` pairs that this deployment fetches from whatever their address.
    :raises TargetRefused: it is not an http(s) URL, hides credentials, or has a port that media is not served on.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetRefused("this is not a URL that can be read", "form") from None
    if len(url) > _MAX_URL or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise TargetRefused("only http and https URLs with a host name are fetched", "form")
    if parts.username is not None or parts.password is not None:
        raise TargetRefused("URLs with a user name or a password in them are not fetched", "form")
    return _allowed(parts.hostname, _DEFAULT_PORTS[parts.scheme] if port is None else port, allow, ports)


def target_of_authority(
    authority: str, allow: frozenset[str], ports: frozenset[int] = PUBLIC_PORTS, *, default_port: int | None = None
) -> Target:
    """Where a proxy is asked to connect to: `host:port`, read by far stricter rules than URLs of people.

    An IPv4 address has four decimal numbers here: forms that only some readers understand (`2130706433`, `0x7f.1`)
    are refused rather than interpreted.

    :param default_port: of a target that names none; without it the port is required.
    :raises TargetRefused: it is not of this form, or has a port that media is not served on.
    """
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise TargetRefused("this is not a host and a port that can be connected to", "form")
    inside, name, digits = found.groups()
    host = inside or name.removesuffix(".").lower()
    is_number = inside is not None or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None
    port = int(digits) if digits else default_port
    is_name = inside is not None or all(0 < len(label) <= _LONGEST_LABEL for label in host.split("."))
    if (is_number and not is_address(host)) or not is_name or port is None or not 0 < port <= _LAST_PORT:
        raise TargetRefused("this is not a host and a port that can be connected to", "form")
    return _allowed(host, port, allow, ports)


def _allowed(host: str, port: int, allow: frozenset[str], ports: frozenset[int]) -> Target:
    allowed = f"{host}:{port}" in allow
    if not allowed and port not in ports:
        known = ", ".join(map(str, sorted(ports)))
        raise TargetRefused(f"media is not fetched from port {port}, only from {known}", "port")
    return Target(host, port, allowed)


def is_address(host: str) -> bool:
    """Whether a host is an IP address as text, and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; text that is none is not."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if isinstance(ip, IPv4Address):
        odd = ip.is_multicast or ip.is_reserved or any(ip in network for network in _NOT_PUBLIC_4)
        return ip.is_global and not odd
    return ip.is_global and ip in _UNICAST_6 and not any(ip in network for network in _NOT_PUBLIC_6)
