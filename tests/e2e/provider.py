"""A stand-in for a paid provider with an OpenAI-compatible API, over real HTTP: it answers, and it bills.

Billing happens when a request arrives whole, before the answer: a caller that dies meanwhile has paid all the same.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler

from pydantic import BaseModel, ConfigDict

from tests.e2e.web import QuietServer

DIMENSIONS = 64
TOKENS_OUT = 40


class Asked(BaseModel):
    """The parts of a request that the stand-in reads."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[dict[str, object]] = []
    input: list[str] | str = []


Reply = Callable[[Asked], Mapping[str, object]]
"""The content of an answer of a language model, a JSON object."""


def summary(_: Asked) -> Mapping[str, object]:
    """What the summarize agent asks for."""
    return {
        "summary": "A summary by the stand-in.",
        "key_points": ["one point"],
        "tags": ["test"],
        "category": "other",
        "quality": 0.5,
    }


@dataclass(frozen=True)
class Line:
    """One line of the invoice, and the request that it is for."""

    path: str
    model: str
    tokens_in: int
    tokens_out: int
    raw: bytes


@dataclass
class Provider:
    """What was billed, and the gate in front of every answer; `delay_s` says how long one to a request takes, `reply`
    what a language model says.

    `status` decides whether a request is answered at all: anything but 200 is not billed, and counts in `refused`.
    """

    url: str = ""
    invoice: list[Line] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    delay_s: Callable[[bytes], float] = lambda _: 0.0
    status: Callable[[bytes], int] = lambda _: 200
    reply: Reply = summary
    refused: int = 0

    @property
    def requests(self) -> int:
        """Everything that arrived."""
        return len(self.invoice) + self.refused

    def wait_for_calls(self, count: int, within_s: float = 60.0) -> None:
        """Wait until at least `count` calls were billed."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.invoice) >= count, within_s), f"{len(self.invoice)} calls"

    def total_micro_usd(self, dollars_in: Decimal, dollars_out: Decimal, *, since: int = 0) -> int:
        """The invoice at prices per million tokens from line `since` on, each call rounded up to the micro-dollar."""
        lines = self.invoice[since:]
        per_call = (line.tokens_in * dollars_in + line.tokens_out * dollars_out for line in lines)
        return sum(-int(-micro // 1) for micro in per_call)


@contextmanager
def serve_provider() -> Iterator[Provider]:
    """Serve on a free loopback port; the gate is open at first."""
    provider = Provider()
    provider.gate.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            status = provider.status(raw)
            if status != 200:
                self._refuse(status)
                return
            asked = Asked.model_validate_json(raw)
            tokens = max(len(raw) // 4, 1)
            chat = self.path.endswith("/chat/completions")
            with provider.arrived:
                provider.invoice.append(Line(self.path, asked.model, tokens, TOKENS_OUT if chat else 0, raw))
                provider.arrived.notify_all()
            provider.gate.wait()
            time.sleep(provider.delay_s(raw))
            answer = _chat(asked, provider.reply(asked), tokens) if chat else _embeddings(asked, tokens)
            body = json.dumps(answer).encode()
            try:
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the caller died; it has been billed

        def _refuse(self, status: int) -> None:
            with provider.arrived:
                provider.refused += 1
                provider.arrived.notify_all()
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of http.server
            """Keep the tests' output quiet."""

    server = QuietServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _chat(asked: Asked, content: Mapping[str, object], tokens: int) -> dict[str, object]:
    message = {"role": "assistant", "content": json.dumps(content)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": asked.model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": TOKENS_OUT, "total_tokens": tokens + TOKENS_OUT},
    }


def _embeddings(asked: Asked, tokens: int) -> dict[str, object]:
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    data = [{"object": "embedding", "index": i, "embedding": _vector(text)} for i, text in enumerate(texts)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": asked.model, "data": data, "usage": usage}


def _vector(text: str) -> list[float]:
    digest = hashlib.blake2b(text.encode(), digest_size=DIMENSIONS).digest()
    return [byte / 255 - 0.5 for byte in digest]
