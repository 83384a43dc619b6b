"""A slow web server of files on loopback, which holds the rest of a file back until the test lets it go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.e2e.web import QuietServer


@dataclass
class FileServer:
    """What was asked for, and the gate in front of the second half of every answer."""

    address: str = ""
    requests: int = 0
    gate: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve_file(path: Path, content_type: str) -> Iterator[FileServer]:
    """Serve one file under every path, on a free loopback port; the gate is shut at first."""
    server_state = FileServer()
    content = path.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server_state.requests += 1
            half = len(content) // 2
            self.send_response(200)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content[:half])
                server_state.gate.wait()
                self.wfile.write(content[half:])
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the reader died

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
            """Keep the tests' output quiet."""

    server = QuietServer(("127.0.0.1", 0), Handler)
    server_state.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server_state
    finally:
        server_state.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
