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

from pydantic import BaseModel, ConfigDict

from tests.support.web import QuietHandler, served

DIMENSIONS = 64
TOKENS_OUT = 40
DOLLARS_IN, DOLLARS_OUT = Decimal("0.50"), Decimal("2.00")
"""Prices per million tokens."""
LARGE = """
[[price]]
model = "stand-in-large"
tokens_in = "5.00"
tokens_out = "20.00"
"""
"""A price list with a model that costs ten times as much."""


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
    """What was billed, the gate in front of every answer, and the policies by which it answers.

    `status` decides whether a request is answered at all: anything but 200 is not billed, and kept in `refused`.
    `delay_s` says how long an answer takes, `reply` what a language model says, and `nonsense` whether an answer,
    billed all the same, cannot be read.
    """

    url: str = ""
    invoice: list[Line] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    delay_s: Callable[[bytes], float] = lambda _: 0.0
    status: Callable[[bytes], int] = lambda _: 200
    reply: Reply = summary
    nonsense: Callable[[bytes], bool] = lambda _: False
    refused: list[bytes] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Everything that arrived."""
        return len(self.invoice) + len(self.refused)

    def billed_for(self, word: str) -> list[Line]:
        """The invoice's lines about texts with a word."""
        return [line for line in self.invoice if word.encode() in line.raw]

    def environment(self, *, embeds: bool = False) -> dict[str, str]:
        """Settings of services that ask it for summaries, and for embeddings, too."""
        found = {
            "OPENAI_API_KEY": "sk-stand-in",
            "MILLRACE_LLM_BASE_URL": self.url,
            "MILLRACE_LLM_MODEL": "stand-in-chat",
            "MILLRACE_LLM_PRICE_IN": str(DOLLARS_IN),
            "MILLRACE_LLM_PRICE_OUT": str(DOLLARS_OUT),
            # A key alone would have OpenAI itself listen.
            "MILLRACE_STT_BACKEND": "local",
            "MILLRACE_STT_FALLBACK": "false",
        }
        if embeds:
            found["MILLRACE_EMBED_BASE_URL"] = self.url
            found["MILLRACE_EMBED_MODEL"] = "stand-in-embed"
            found["MILLRACE_EMBED_PRICE_IN"] = str(DOLLARS_IN)
        return found

    def wait_for_calls(self, count: int, within_s: float = 60.0) -> None:
        """Wait until at least `count` calls were billed."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.invoice) >= count, within_s), f"{len(self.invoice)} calls"

    def total_micro_usd(self, *, since: int = 0) -> int:
        """The invoice from line `since` on, each call rounded up to the micro-dollar."""
        lines = self.invoice[since:]
        per_call = (line.tokens_in * DOLLARS_IN + line.tokens_out * DOLLARS_OUT for line in lines)
        return sum(-int(-micro // 1) for micro in per_call)


@contextmanager
def serve_provider() -> Iterator[Provider]:
    """Serve on a free loopback port; the gate is open at first."""
    provider = Provider()
    provider.gate.set()

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
            raw = self.body()
            asked = Asked.model_validate_json(raw)
            tokens = max(len(raw) // 4, 1)
            chat = self.path.endswith("/chat/completions")
            status, nonsense = provider.status(raw), provider.nonsense(raw)
            with provider.arrived:
                if status == 200:
                    provider.invoice.append(Line(self.path, asked.model, tokens, TOKENS_OUT if chat else 0, raw))
                else:
                    provider.refused.append(raw)
                provider.arrived.notify_all()
            provider.gate.wait()
            time.sleep(provider.delay_s(raw))
            if status != 200:
                body = b""
            elif nonsense:
                body = b"<html>"
            else:
                answer = _chat(asked, provider.reply(asked), tokens) if chat else _embeddings(asked, tokens)
                body = json.dumps(answer).encode()
            self.answer(status, "application/json", body)

    with served(Handler) as address:
        provider.url = f"http://{address}/v1"
        try:
            yield provider
        finally:
            provider.gate.set()


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
