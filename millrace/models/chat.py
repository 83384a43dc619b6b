"""A language model behind any OpenAI-compatible API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel

from millrace.models.answers import read
from millrace.models.openai_api import errors_by_outcome, token_counter
from millrace.models.outcomes import counted
from millrace.models.port import Paid, Tariff, Use
from millrace.models.question import ChatAnswer, Question
from millrace.money import MicroUSD

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionMessageParam
    from openai.types.shared_params import ResponseFormatJSONSchema

F = TypeVar("F", bound=BaseModel)

_ROLES = 100  # tokens that an API adds for roles and the like


class Chat:
    """One model of an API; implements `ChatModel`.

    :param max_tokens: most tokens of an answer.
    :param own_server: not OpenAI itself, whose newer models want the limit under another name than servers know.
    """

    def __init__(
        self, client: openai.AsyncOpenAI, *, model: str, tariff: Tariff, max_tokens: int, own_server: bool
    ) -> None:
        self._client = client
        self.model = model
        self._tariff = tariff
        self._max_tokens = max_tokens
        self._limit = {"max_tokens" if own_server else "max_completion_tokens": max_tokens}
        self.count = token_counter(model)

    def most(self, question: Question[F], *, more: int = 0) -> MicroUSD:
        """Price of the whole question, and of the longest answer: what is to be held for it."""
        return self._tariff.most(self._tokens(question) + more, self._max_tokens)

    async def ask(self, question: Question[F]) -> Paid[ChatAnswer[F]]:
        """Ask once; raises as the port says."""
        with errors_by_outcome(self.model):
            answer = await self._client.chat.completions.create(
                model=self.model,
                messages=_messages(question),
                response_format=_form(question),
                extra_body=self._limit,
            )
            choice = answer.choices[0] if answer.choices else None
            content = choice.message.content if choice else None
            cut_off = choice is not None and choice.finish_reason == "length"
            refused = choice is not None and bool(
                choice.finish_reason == "content_filter" or getattr(choice.message, "refusal", None)
            )
        # A server that does not count is charged what was held: never too little.
        tokens_in = counted(getattr(answer.usage, "prompt_tokens", None), self._tokens(question))
        tokens_out = counted(getattr(answer.usage, "completion_tokens", None), self._max_tokens)
        found = read(content, question.answer, question.properties, cut_off=cut_off)
        more = {"tokens_in": tokens_in, "tokens_out": tokens_out, "refused": refused and found.value is None}
        use = Use(tokens_in, tokens_out)
        return Paid(found.model_copy(update=more), self._tariff.cost(use), use)

    def _tokens(self, question: Question[F]) -> int:
        texts = (question.system, question.user, json.dumps(question.schema))
        return sum(map(self.count, texts)) + _ROLES


def _messages(question: Question[F]) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]


def _form(question: Question[F]) -> ResponseFormatJSONSchema:
    form = {"name": question.name, "strict": True, "schema": question.schema}
    return {"type": "json_schema", "json_schema": form}  # type: ignore[typeddict-item]
