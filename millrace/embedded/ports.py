"""Which loopback ports the parts listen on: the given one, else the last one, else a free one."""

from __future__ import annotations

import json
import socket
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from millrace.embedded.errors import EmbeddedError
from millrace.embedded.paths import write_private_json

LOOPBACK = "127.0.0.1"
# Below the range that Linux and macOS take outgoing connections from, or a client could sit on a broker's port.
_FIRST, _LAST = 20_000, 29_999


def candidates(folder: Path, name: str) -> Iterator[int]:
    """Every port of our range once, starting where only folder and name decide: two stacks rarely meet."""
    size = _LAST - _FIRST + 1
    start = zlib.crc32(f"{folder}|{name}".encode()) % size
    return (_FIRST + (start + step) % size for step in range(size))


def choose_ports(
    names: Iterable[str],
    *,
    given: Mapping[str, int],
    remembered: Mapping[str, int],
    is_free: Callable[[int], bool],
    folder: Path,
) -> dict[str, int]:
    """Pick one port a name, no port twice.

    :raises EmbeddedError: a given port is taken, or no port of the range is free.
    """
    chosen: dict[str, int] = {}
    for name in names:
        if name in given:
            if not is_free(given[name]):
                raise EmbeddedError(
                    f"Port {given[name]}, wanted for {name}, is taken: free it, or leave the port out."
                )
            chosen[name] = given[name]
    for name in names:
        if name not in chosen:
            taken = set(chosen.values())
            wishes = [remembered[name]] if name in remembered else []
            free = (port for port in (*wishes, *candidates(folder, name)) if port not in taken and is_free(port))
            port = next(free, None)
            if port is None:
                raise EmbeddedError(f"No port between {_FIRST} and {_LAST} is free for {name}: stop what holds them.")
            chosen[name] = port
    return chosen


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def load_ports(path: Path) -> dict[str, int]:
    """The ports of the last start; none when the file is missing or unreadable (they are a wish, not a need)."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {name: port for name, port in stored.items() if isinstance(name, str) and isinstance(port, int)}


def save_ports(path: Path, ports: Mapping[str, int]) -> None:
    """Remember them for the next start."""
    write_private_json(path, dict(ports))
