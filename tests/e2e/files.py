"""A slow web server of files on loopback, which holds the rest of a file back until the test lets it go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.web import QuietHandler, served


@dataclass
class FileServer:
    """What was asked for, and the gate in front of the second half of every answer."""

    address: str = ""
    requests: int = 0
    gate: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve_file(path: Path, content_type: str) -> Iterator[FileServer]:
    """Serve one file under every path, on a free loopback port; the gate is shut at first."""
    state = FileServer()
    content = path.read_bytes()

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            state.requests += 1
            half = len(content) // 2
            self.head(200, content_type, len(content))
            try:
                self.wfile.write(content[:half])
                state.gate.wait()
                self.wfile.write(content[half:])
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the reader died

    with served(Handler) as state.address:
        try:
            yield state
        finally:
            state.gate.set()
