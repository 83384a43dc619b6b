"""A web server whose clients may be killed at any moment."""

from __future__ import annotations

import sys
from http.server import ThreadingHTTPServer


class QuietServer(ThreadingHTTPServer):
    """Says nothing of connections that a killed client left."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Report everything but a broken connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # a socket, as typeshed knows it
