"""Which media is taken: rules for addresses and for what was probed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from millrace.errors import Poison

PUBLIC_PORTS = frozenset({80, 443, 8080, 8443})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_URL = 4096

# Global by `ipaddress`, yet not the public internet: protocol assignments, a cloud's own agent, 6to4 relays.
_NOT_PUBLIC_4 = tuple(map(ip_network, ("192.0.0.0/24", "168.63.129.16/32", "192.88.99.0/24")))
_UNICAST_6 = ip_network("2000::/3")
# Inside 2000::/3: tunnels that carry an IPv4 address of anybody's choice, and documentation.
_NOT_PUBLIC_6 = tuple(map(ip_network, ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")))

_SUFFIXES = {"mov,mp4,m4a,3gp,3g2,mj2": ".mp4", "matroska,webm": ".mkv", "mpegts": ".ts"}

NOT_PUBLIC = "media is fetched from public internet addresses only, and this URL leads to another one"


@dataclass(frozen=True)
class Target:
    """Where a request goes; `allowed` hosts are exempt from the rules about addresses and ports."""

    host: str
    port: int
    allowed: bool


@dataclass(frozen=True)
class Fetched:
    """A file and what it is: `sha256` as 64 hex digits, and its size."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Probe:
    """What a media file holds. `duration_ms` is 0 when nothing in it lasts."""

    format: str
    duration_ms: int
    audio_codec: str | None
    video_codec: str | None
    tags: dict[str, str] = field(default_factory=dict)


class MediaResult(BaseModel):
    """Result of the stage: what `MediaReady` says about the media, whoever shared it."""

    model_config = ConfigDict(frozen=True)

    blob_key: str
    media_url: str
    sha256: str
    size_bytes: int
    duration_ms: int
    format: str
    audio_codec: str | None = None
    video_codec: str | None = None
    metadata: dict[str, str] = {}


def target_of(url: str, allow: frozenset[str], ports: frozenset[int] = PUBLIC_PORTS) -> Target:
    """Where a URL leads.

    :param allow: `host:port` pairs that this deployment fetches from whatever their address.
    :raises Poison: it is not an http(s) URL, hides credentials, or has a port that media is not served on.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise Poison("this is not a URL that can be read") from exc
    if len(url) > _MAX_URL or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise Poison("only http and https URLs with a host name are fetched")
    if parts.username is not None or parts.password is not None:
        raise Poison("URLs with a user name or a password in them are not fetched")
    port = _DEFAULT_PORTS[parts.scheme] if port is None else port
    allowed = f"{parts.hostname}:{port}" in allow
    if not allowed and port not in ports:
        raise Poison(f"media is not fetched from port {port}, only from {', '.join(map(str, sorted(ports)))}")
    return Target(parts.hostname, port, allowed)


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


def check_probe(probe: Probe, *, longest: timedelta) -> None:
    """Whether the media can go on to the other stages.

    :raises Poison: there is nothing in it, it does not last, or it lasts too long.
    """
    if probe.duration_ms <= 0:
        raise Poison("this media is 0 seconds long")
    if probe.audio_codec is None and probe.video_codec is None:
        raise Poison("this file has neither sound nor moving pictures that can be decoded")
    length = timedelta(milliseconds=probe.duration_ms)
    if length > longest:
        raise Poison(f"this media lasts {_minutes(length)} min; at most {_minutes(longest)} min are taken")


def suffix_of(format_name: str) -> str:
    """A file name's suffix for a container format as ffmpeg names it."""
    return _SUFFIXES.get(format_name, f".{format_name}")


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:.1f}".removesuffix(".0")
