"""A web server in a thread, whose clients may be killed at any moment."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

EMPTY: Mapping[str, str] = MappingProxyType({})


class QuietHandler(BaseHTTPRequestHandler):
    """Reads whole requests and answers those whose caller still lives; says nothing of it."""

    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        """What the request carries."""
        return self.rfile.read(int(self.headers["content-length"]))

    def head(self, status: int, content_type: str, length: int, headers: Mapping[str, str] = EMPTY) -> None:
        """What comes before the content of an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(length))
        self.end_headers()

    def answer(
        self,
        status: int,
        content_type: str,
        body: bytes,
        *,
        sent: int | None = None,
        headers: Mapping[str, str] = EMPTY,
    ) -> None:
        """An answer, unless the caller has died meanwhile; only `sent` bytes of what was promised, if given."""
        try:
            self.head(status, content_type, len(body), headers)
            self.wfile.write(body[:sent])
            self.close_connection = sent is not None
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
        """Keep the tests' output quiet."""


class _QuietServer(ThreadingHTTPServer):
    """Says nothing of connections that a killed client left."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Report everything but a broken connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # a socket, as typeshed knows it


@contextmanager
def served(handler: type[QuietHandler]) -> Iterator[str]:
    """Serve on a free port of loopback; the address, as host:port."""
    server = _QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
