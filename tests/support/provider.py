"""A stand-in for a paid provider, over real HTTP: it answers, and it bills.

It speaks OpenAI's protocol and Anthropic's.

Billing happens when a request arrives whole, before the answer: a caller that dies meanwhile has paid all the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from millrace.models.openai_api import token_counter
from tests.support.uploads import Upload, uploaded
from tests.support.web import QuietHandler, served

DIMENSIONS = 64
TOKENS_OUT = 40
DOLLARS_IN, DOLLARS_OUT = Decimal("0.50"), Decimal("2.00")
"""Prices per million tokens."""
DOLLARS_MINUTE = Decimal("0.006")
"""Price of a minute of sound."""
LARGE = """
[[price]]
model = "stand-in-large"
tokens_in = "5.00"
tokens_out = "20.00"
"""
"""A price list with a model that costs ten times as much."""


EXACT = frozenset({"text-embedding-3-small"})
"""Models whose tokens it counts as OpenAI does; those of others are a quarter of the request's bytes."""


class Asked(BaseModel):
    """The parts of a request that the stand-in reads."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[dict[str, object]] = []
    tools: list[dict[str, object]] = []
    input: list[str] | str = []

    @property
    def texts(self) -> list[str]:
        """What shall be embedded."""
        return [self.input] if isinstance(self.input, str) else self.input


Reply = Callable[[Asked], Mapping[str, object] | str]
"""The content of an answer of a language model: a JSON object, or whatever it says instead."""


def summary(_: Asked) -> Mapping[str, object]:
    """What the summarize agent asks for."""
    return {
        "summary": "A summary by the stand-in.",
        "key_points": ["one point"],
        "tags": ["test"],
        "category": "other",
        "quality": 0.5,
    }


Ears = Callable[[Upload], list[Mapping[str, object]]]
"""The words that a speech model hears: {word, start, end}, times in seconds of the upload."""


def one_word(upload: Upload) -> list[Mapping[str, object]]:
    """A word that lasts as long as the sound."""
    return [{"word": "something", "start": 0.0, "end": upload.seconds}]


@dataclass(frozen=True)
class Line:
    """One line of the invoice, and the request that it is for; begun seconds of sound are billed.

    Of the tokens that were read, `cached` came from a cache; they cost the same here.
    """

    path: str
    model: str
    tokens_in: int
    tokens_out: int
    raw: bytes
    seconds: int = 0
    cached: int = 0

    @property
    def micro_usd(self) -> int:
        """Its amount, rounded up."""
        micro = self.tokens_in * DOLLARS_IN + self.tokens_out * DOLLARS_OUT
        return math.ceil(micro + self.seconds * DOLLARS_MINUTE / 60 * 1_000_000)  # `//` of a Decimal would cut off


@dataclass(frozen=True)
class Way:
    """How one request is answered; `broken`: the answer ends in its middle; `stop`: why the model said no more."""

    status: int = 200
    delay_s: float = 0.0
    nonsense: bool = False
    broken: bool = False
    stop: str | None = None
    retry_after_s: int | None = None


@dataclass
class Provider:
    """What was billed, the gate in front of every answer, and the policies by which it answers.

    `status` decides whether a request is answered at all: anything but 200 is not billed, and kept in `refused`.
    `delay_s` says how long an answer takes, `reply` what a language model says, `ears` what a speech model hears,
    and `nonsense` whether an answer, billed all the same, cannot be read. `ways` are those of the next requests.
    """

    url: str = ""
    invoice: list[Line] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    delay_s: Callable[[bytes], float] = lambda _: 0.0
    status: Callable[[bytes], int] = lambda _: 200
    reply: Reply = summary
    ears: Ears = one_word
    nonsense: Callable[[bytes], bool] = lambda _: False
    ways: deque[Way] = field(default_factory=deque)
    refused: list[bytes] = field(default_factory=list)

    def way(self, raw: bytes) -> Way:
        """How this request is answered: as the next of `ways` says, or else by the policies."""
        if self.ways:
            return self.ways.popleft()
        return Way(self.status(raw), self.delay_s(raw), self.nonsense(raw))

    @property
    def requests(self) -> int:
        """Everything that arrived."""
        return len(self.invoice) + len(self.refused)

    def billed_for(self, word: str) -> list[Line]:
        """The invoice's lines about texts with a word."""
        return [line for line in self.invoice if word.encode() in line.raw]

    def environment(self, *, embeds: bool = False, hears: bool = False) -> dict[str, str]:
        """Settings of services that ask it for summaries, and for embeddings and transcripts, too."""
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
        if hears:
            found["MILLRACE_STT_BACKEND"] = "api"
            found["MILLRACE_STT_BASE_URL"] = self.url
            found["MILLRACE_STT_MODEL"] = "stand-in-ears"
            found["MILLRACE_STT_PRICE_MINUTE"] = str(DOLLARS_MINUTE)
        if embeds:
            found["MILLRACE_EMBED_BASE_URL"] = self.url
            found["MILLRACE_EMBED_MODEL"] = "stand-in-embed"
            found["MILLRACE_EMBED_PRICE_IN"] = str(DOLLARS_IN)
            found["MILLRACE_EMBED_WAIT_S"] = "0"
        return found

    def wait_for_calls(self, count: int, within_s: float = 60.0) -> None:
        """Wait until at least `count` calls were billed."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.invoice) >= count, within_s), f"{len(self.invoice)} calls"

    def total_micro_usd(self, *, since: int = 0) -> int:
        """The invoice from line `since` on, each call rounded up to the micro-dollar."""
        return sum(line.micro_usd for line in self.invoice[since:])


@contextmanager
def serve_provider() -> Iterator[Provider]:
    """Serve on a free loopback port; the gate is open at first."""
    provider = Provider()
    provider.gate.set()

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
            raw = self.body()
            line, answer = self.understood(raw)
            with provider.arrived:
                way = provider.way(raw)
                if way.status == 200:
                    provider.invoice.append(line)
                else:
                    provider.refused.append(raw)
                provider.arrived.notify_all()
            provider.gate.wait()
            time.sleep(way.delay_s)
            body = b"" if way.status != 200 else b"<html>" if way.nonsense else json.dumps(answer(way)).encode()
            headers = {} if way.retry_after_s is None else {"retry-after": str(way.retry_after_s)}
            sent = len(body) // 2 if way.broken else None
            self.answer(way.status, "application/json", body, sent=sent, headers=headers)

        def understood(self, raw: bytes) -> tuple[Line, Callable[[Way], Mapping[str, object]]]:
            if self.path.endswith("/audio/transcriptions"):
                upload = uploaded(self.headers["content-type"], raw)
                line = Line(self.path, upload.model, 0, 0, raw, seconds=-int(-upload.seconds // 1))
                return line, lambda _: _transcript(upload, provider.ears(upload))
            asked, tokens = Asked.model_validate_json(raw), max(len(raw) // 4, 1)
            if self.path.endswith("/messages"):
                line = Line(self.path, asked.model, tokens, TOKENS_OUT, raw, cached=tokens // 3)
                return line, lambda way: _message(asked, provider.reply(asked), line, way.stop)
            if self.path.endswith("/chat/completions"):
                line = Line(self.path, asked.model, tokens, TOKENS_OUT, raw)
                return line, lambda way: _chat(asked, provider.reply(asked), tokens, way.stop or "stop")
            if asked.model in EXACT:
                tokens = sum(map(token_counter(asked.model), asked.texts))
            return Line(self.path, asked.model, tokens, 0, raw), lambda _: _embeddings(asked, tokens)

    with served(Handler) as address:
        provider.url = f"http://{address}/v1"
        try:
            yield provider
        finally:
            provider.gate.set()


def _chat(asked: Asked, content: Mapping[str, object] | str, tokens: int, stop: str) -> dict[str, object]:
    said = content if isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": said}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": asked.model,
        "choices": [{"index": 0, "finish_reason": stop, "message": message}],
        "usage": {"prompt_tokens": tokens, "completion_tokens": TOKENS_OUT, "total_tokens": tokens + TOKENS_OUT},
    }


def _message(asked: Asked, content: Mapping[str, object] | str, line: Line, stop: str | None) -> dict[str, object]:
    """The answer of Anthropic's API: the tool is called, unless the model says something instead."""
    if isinstance(content, str):
        block: dict[str, object] = {"type": "text", "text": content}
    else:
        block = {"type": "tool_use", "id": "toolu_1", "name": asked.tools[0]["name"], "input": content}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [block],
        "stop_reason": stop or ("end_turn" if isinstance(content, str) else "tool_use"),
        "stop_sequence": None,
        "usage": {
            "input_tokens": line.tokens_in - line.cached,
            "cache_creation_input_tokens": line.cached // 2,
            "cache_read_input_tokens": line.cached - line.cached // 2,
            "output_tokens": line.tokens_out,
        },
    }


def _transcript(upload: Upload, words: list[Mapping[str, object]]) -> dict[str, object]:
    """The form `verbose_json`, with a segment for every ten words."""
    parts = [words[at : at + 10] for at in range(0, len(words), 10)]
    segments = [
        {
            "id": number,
            "start": part[0]["start"],
            "end": part[-1]["end"],
            "text": " ".join(str(word["word"]) for word in part),
            "avg_logprob": -0.2,
            "no_speech_prob": 0.01,
        }
        for number, part in enumerate(parts)
    ]
    return {
        "task": "transcribe",
        "language": "english",
        "duration": upload.seconds,
        "text": " ".join(str(word["word"]) for word in words),
        "segments": segments,
        "words": words,
        "usage": {"type": "duration", "seconds": -int(-upload.seconds // 1)},
    }


def _embeddings(asked: Asked, tokens: int) -> dict[str, object]:
    data = [{"object": "embedding", "index": i, "embedding": _vector(text)} for i, text in enumerate(asked.texts)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": asked.model, "data": data, "usage": usage}


def _vector(text: str) -> list[float]:
    digest = hashlib.blake2b(text.encode(), digest_size=DIMENSIONS).digest()
    return [byte / 255 - 0.5 for byte in digest]
