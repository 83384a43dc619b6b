"""`python -m millrace.health [URL]`: whether a service is ready, in one sentence and an exit status, 0 or 1.

For health checks of containers, which run it every few seconds: it imports next to nothing. It asks the service's own
/readyz, and adds no opinion to what that says.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from typing import Final
from urllib.parse import urlsplit

WITHIN_S: Final = 8.0
"""The gateway asks PostgreSQL and Kafka in turn, for up to 3.5 s each, before it says which of them is away."""
_EVERYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - not listened on, but compared with
_NAMES: Final = (("MILLRACE_OPS_HOST", "MILLRACE_OPS_PORT"), ("MILLRACE_HTTP_HOST", "MILLRACE_HTTP_PORT"))
_MOST_BYTES: Final = 64 << 10


def address(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int, str]:
    """Host, port and path to ask: of the URL that is given, or of the environment that the service itself reads.

    :raises ValueError: neither says where.
    """
    if len(arguments) > 1:
        raise ValueError("Say at most one URL.")
    if arguments:
        url = urlsplit(arguments[0])
        if url.scheme != "http" or url.hostname is None:
            raise ValueError(f"{arguments[0]} is no http URL.")
        return url.hostname, url.port or 80, url.path.rstrip("/") or "/readyz"
    for host_name, port_name in _NAMES:
        port = environment.get(port_name, "")
        if port not in {"", "0"}:
            host = environment.get(host_name, "")
            return ("127.0.0.1" if host in _EVERYWHERE else host), int(port), "/readyz"
    raise ValueError("Say which URL, or set MILLRACE_OPS_PORT or MILLRACE_HTTP_PORT as the service has it.")


def sentence(status: int, body: bytes) -> str:
    """What an answer says, for a person."""
    try:
        said = json.loads(body)
        words = [str(said[name]) for name in ("status", "reason") if said.get(name)]
    except (ValueError, AttributeError):  # another program listens there
        words = []
    return ": ".join(words) or f"It answered {status}."


def look(host: str, port: int, path: str) -> tuple[bool, str]:
    """Ask once: whether it is ready, and what it says."""
    connection = HTTPConnection(host, port, timeout=WITHIN_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == 200, sentence(answer.status, answer.read(_MOST_BYTES))
    except TimeoutError:
        return False, f"{host}:{port} does not answer within {WITHIN_S:.0f} s."
    except OSError as exc:
        return False, f"{host}:{port} does not answer ({exc.strerror or type(exc).__name__})."
    except HTTPException as exc:
        return False, f"{host}:{port} does not speak HTTP ({type(exc).__name__})."
    finally:
        connection.close()


def main() -> int:
    """Exit status: 0 ready, 1 everything else (2 means something of its own to Docker)."""
    try:
        ready, said = look(*address(sys.argv[1:], os.environ))
    except ValueError as exc:
        ready, said = False, str(exc)
    (sys.stdout if ready else sys.stderr).write(f"{said}\n")
    return 0 if ready else 1


if __name__ == "__main__":
    raise SystemExit(main())
