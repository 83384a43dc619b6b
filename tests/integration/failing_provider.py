"""A paid API that fails for good on some texts, over real HTTP: it bills what it answers, also with nonsense."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Literal

from tests.e2e.web import QuietServer

Fate = Literal["works", "nonsense", "busy", "wrong"]
"""`nonsense` is billed and cannot be read; `busy` (HTTP 500) and `wrong` (400, for good) cost nothing."""
_STATUS = {"works": 200, "nonsense": 200, "busy": 500, "wrong": 400}
TOKENS_OUT = 40
SUMMARY = {"summary": "Fine.", "key_points": ["one"], "tags": ["test"], "category": "other", "quality": 0.5}


@dataclass
class FailingProvider:
    """`fates` says what becomes of a request about a text that has the word; other requests work.

    A request counts, and is billed, when it has arrived whole; its answer takes `takes_s`.
    """

    url: str = ""
    takes_s: float = 0.5
    fates: dict[str, Fate] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    billed_tokens: Counter[str] = field(default_factory=Counter)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def count(self) -> int:
        """Requests about texts with a fate."""
        return sum(self.requests.values())

    def take(self, raw: bytes) -> Fate:
        """Note a request that has arrived whole."""
        word = next((word for word in self.fates if word.encode() in raw), "")
        fate: Fate = self.fates.get(word, "works")
        with self.arrived:
            if word:
                self.requests[word] += 1
            if _STATUS[fate] == 200:
                self.billed_tokens[word] += len(raw) // 4 + TOKENS_OUT
            self.arrived.notify_all()
        return fate

    def wait_for_more(self, than: int, within_s: float) -> bool:
        """Wait for a request about a text with a fate; False when none came."""
        with self.arrived:
            return self.arrived.wait_for(lambda: self.count() > than, within_s)


@contextmanager
def failing_provider() -> Iterator[FailingProvider]:
    """Serve on a free port of loopback."""
    provider = FailingProvider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            fate = provider.take(raw)
            time.sleep(provider.takes_s)
            body = b"<html>" if fate == "nonsense" else json.dumps(_chat(len(raw) // 4)).encode()
            try:
                self.send_response(_STATUS[fate])
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the caller died; it has been billed

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
            """Keep the tests' output quiet."""

    server = QuietServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _chat(tokens: int) -> dict[str, object]:
    message = {"role": "assistant", "content": json.dumps(SUMMARY)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "stand-in-chat",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": TOKENS_OUT, "total_tokens": tokens + TOKENS_OUT},
    }
