"""Language models of Anthropic, by its own API and SDK.

The form of an answer is that of a tool which the model has to call: all of its models can do that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

import anthropic
from pydantic import BaseModel, SecretStr

from millrace.models.answers import read
from millrace.models.keys import key_to_send
from millrace.models.outcomes import (
    CONNECT_S,
    NEVER_SENT,
    byte_count,
    counted,
    of_status,
    silent,
    unreachable,
    unreadable,
)
from millrace.models.port import Paid, Tariff, Use
from millrace.models.question import ChatAnswer, Question
from millrace.money import MicroUSD

if TYPE_CHECKING:
    from anthropic.types import Message

F = TypeVar("F", bound=BaseModel)

_BASE_URL: Final = "https://api.anthropic.com"
_ROLES_AND_TOOLS: Final = 1000  # tokens; a forced tool adds up to 700 by Anthropic's own table of them
_ABOUT: Final = "Takes the answer."
_CACHED: Final = ("cache_creation_input_tokens", "cache_read_input_tokens")


def open_client(*, base_url: str | None, key: SecretStr | None, timeout_s: float) -> anthropic.AsyncAnthropic:
    """A client that never repeats a request by itself: every one is granted on its own. Close it when done.

    :param base_url: None for Anthropic itself; with or without the `/v1` that other providers' URLs end with.
    :raises ConfigurationError: the key is none that could be sent.
    """
    # Key and URL are always given: the SDK would look for others in the environment and in files.
    client = anthropic.AsyncAnthropic(
        base_url=(base_url or _BASE_URL).rstrip("/").removesuffix("/v1"),
        api_key=key_to_send(key, variable="ANTHROPIC_API_KEY"),
        max_retries=0,
        timeout=anthropic.Timeout(timeout_s, connect=CONNECT_S),
    )
    client._custom_headers = {}  # noqa: SLF001 - as for OpenAI's: the environment's would replace the key
    return client


@contextmanager
def errors_by_outcome(model: str) -> Iterator[None]:
    """Turn errors of a request, and of reading its answer, into ours, as for OpenAI-compatible APIs.

    :raises Retryable: nothing was paid, later it may work.
    :raises Poison: nothing was paid, and it never will work.
    :raises UnknownOutcome: it may have been paid.
    """
    try:
        yield
    except anthropic.APIStatusError as exc:
        # Not `from exc`: what the server said may repeat the key or the document, and chained errors are printed.
        wait = exc.response.headers.get("retry-after")
        raise of_status(exc.status_code, wait, model=model, key="ANTHROPIC_API_KEY") from None
    except anthropic.APIConnectionError as exc:
        why = type(exc.__cause__).__name__  # and no more: some causes repeat a header, the key's among them
        if why in NEVER_SENT:
            raise unreachable(model, why) from None
        raise silent(model, why) from None
    except (anthropic.AnthropicError, ValueError, TypeError, AttributeError, LookupError):
        raise unreadable(model) from None  # as above


class AnthropicChat:
    """One model of Anthropic; implements `ChatModel`.

    Its tokenizer is not published: tokens are bounded by bytes before a call, and counted by the API after it.

    :param max_tokens: most tokens of an answer.
    """

    def __init__(self, client: anthropic.AsyncAnthropic, *, model: str, tariff: Tariff, max_tokens: int) -> None:
        self._client = client
        self.model = model
        self._tariff = tariff
        self._max_tokens = max_tokens

    def count(self, text: str) -> int:
        """Bytes."""
        return byte_count(text)

    def most(self, question: Question[F], *, more: int = 0) -> MicroUSD:
        """Price of the whole question, and of the longest answer: what is to be held for it."""
        return self._tariff.most(self._tokens(question) + more, self._max_tokens)

    async def ask(self, question: Question[F]) -> Paid[ChatAnswer[F]]:
        """Ask once; raises as the port says."""
        with errors_by_outcome(self.model):
            answer = await self._client.messages.create(
                model=self.model,
                max_tokens=self._max_tokens,
                system=question.system,
                messages=[{"role": "user", "content": question.user}],
                tools=[{"name": question.name, "description": _ABOUT, "input_schema": question.schema}],
                tool_choice={"type": "tool", "name": question.name, "disable_parallel_tool_use": True},
            )
            content, reason = _content(answer, question.name), answer.stop_reason
            tokens_in, tokens_out = self._used(answer, question)
        cut_off = reason == "max_tokens"
        # A tool's input is read by the SDK: what was cut off comes as whole JSON.
        found = read(content, question.answer, question.properties, cut_off=cut_off, closed=True)
        refused = reason == "refusal" and found.value is None
        more = {"tokens_in": tokens_in, "tokens_out": tokens_out, "refused": refused}
        use = Use(tokens_in, tokens_out)
        return Paid(found.model_copy(update=more), self._tariff.cost(use), use)

    def _used(self, answer: Message, question: Question[F]) -> tuple[int, int]:
        """Tokens read, those of a cache included, and written. An answer without counts is charged what was held."""
        usage = getattr(answer, "usage", None)
        cached = sum(counted(getattr(usage, name, None), 0) for name in _CACHED)
        read_in = counted(getattr(usage, "input_tokens", None), self._tokens(question))
        return read_in + cached, counted(getattr(usage, "output_tokens", None), self._max_tokens)

    def _tokens(self, question: Question[F]) -> int:
        return sum(map(byte_count, (question.system, question.user, json.dumps(question.schema)))) + _ROLES_AND_TOOLS


def _content(answer: Message, tool: str) -> str:
    """What the tool was called with, as JSON; or else what was said without it."""
    for block in answer.content:
        if block.type == "tool_use" and block.name == tool:
            return json.dumps(block.input, ensure_ascii=False)
    return "".join(block.text for block in answer.content if block.type == "text")
