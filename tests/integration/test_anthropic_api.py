"""Anthropic's own SDK over real HTTP, to a stand-in that bills."""

from __future__ import annotations

import json
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import anthropic
import pytest
from aiohttp import web
from pydantic import SecretStr

from millrace.errors import ConfigurationError, Outcome, Poison, Retryable, UnknownOutcome
from millrace.models.anthropic_api import AnthropicChat, errors_by_outcome, open_client
from millrace.models.build import open_chats
from millrace.models.settings import OPENAI_MODEL, ChatSettings
from millrace.models.tariffs import PerToken
from millrace.sentences import split_sentences
from millrace.testing.run import FakeRun
from services.summarize_agent.adapters.api import ApiSummarizer
from services.summarize_agent.domain import Task
from services.summarize_agent.map_reduce import MapReduce
from services.summarize_agent.parts import Limits
from tests.support.injections import FELL_FOR_IT, INJECTIONS
from tests.support.provider import DOLLARS_IN, DOLLARS_OUT, Provider, Way, serve_provider, summary
from tests.support.site import site

TARIFF = PerToken(DOLLARS_IN, DOLLARS_OUT)
TASK = Task("A mill race is the channel of water that drives a water wheel. The miller opens the gate.", "en")
MODEL = "claude-haiku-4-5"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serve_provider() as provider:
        yield provider


@pytest.fixture
async def client(provider: Provider) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with open_client(base_url=provider.url, key=SecretStr("sk-ant-1"), timeout_s=1) as client:
        yield client


@pytest.fixture
def summarizer(client: anthropic.AsyncAnthropic) -> ApiSummarizer:
    return ApiSummarizer(AnthropicChat(client, model=MODEL, tariff=TARIFF, max_tokens=500))


async def test_what_is_billed_is_what_is_charged(provider: Provider, summarizer: ApiSummarizer) -> None:
    paid = await summarizer.summarize(TASK)
    assert paid.answer.summary is not None
    assert paid.answer.summary.summary == "A summary by the stand-in."
    (line,) = provider.invoice
    assert line.path == "/v1/messages"
    assert line.cached > 0
    assert (paid.answer.tokens_in, paid.answer.tokens_out) == (line.tokens_in, line.tokens_out)
    assert paid.cost == line.micro_usd <= summarizer.most(TASK)


async def test_the_form_is_a_tool_that_has_to_be_called(provider: Provider, summarizer: ApiSummarizer) -> None:
    await summarizer.summarize(TASK)
    asked = json.loads(provider.invoice[0].raw)
    assert asked["tool_choice"] == {"type": "tool", "name": "summary", "disable_parallel_tool_use": True}
    assert asked["tools"][0]["input_schema"]["required"] == ["summary", "key_points", "tags", "category", "quality"]
    assert asked["max_tokens"] == 500
    assert [message["role"] for message in asked["messages"]] == ["user"]


async def test_nothing_of_the_environment_leads_elsewhere(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "another")
    async with open_client(base_url=provider.url, key=SecretStr("sk-ant-1"), timeout_s=1) as client:
        await ApiSummarizer(AnthropicChat(client, model=MODEL, tariff=TARIFF, max_tokens=500)).summarize(TASK)
        assert client.auth_token is None
    async with open_client(base_url=None, key=None, timeout_s=1) as client:
        assert str(client.base_url).rstrip("/") == "https://api.anthropic.com"
    assert len(provider.invoice) == 1


async def test_the_environment_adds_no_header() -> None:
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(status=400)

    async with site(answer, "/{path:.*}") as port:
        for key in ("sk-ant-1", " sk-ant-1\n"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(
                    "ANTHROPIC_CUSTOM_HEADERS", "X-Api-Key: another\nAuthorization: another\nX-Other: another"
                )
                client = open_client(base_url=f"http://127.0.0.1:{port}", key=SecretStr(key), timeout_s=2)
            async with client:
                chat = AnthropicChat(client, model=MODEL, tariff=TARIFF, max_tokens=500)
                with pytest.raises(Poison):
                    await ApiSummarizer(chat).summarize(TASK)
    assert len(seen) == 2
    for headers in seen:
        assert "another" not in headers.values()
        assert "sk-ant-1" in {headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer ")}


@pytest.mark.parametrize("cause", ["ConnectError", "LocalProtocolError"])
def test_what_went_wrong_on_the_way_is_told_by_its_type_alone(cause: str) -> None:
    def refuse(exc: Exception) -> None:
        raise exc

    def fail() -> None:
        refused: type[Exception] = type(cause, (Exception,), {})
        try:
            refuse(refused("Illegal header value b'sk-ant-1'"))
        except refused as exc:
            request = anthropic.Anthropic(api_key="sk-ant-1")._client.build_request("GET", "http://127.0.0.1")
            raise anthropic.APIConnectionError(request=request) from exc

    with pytest.raises(Outcome, match=cause) as told, errors_by_outcome("m"):
        fail()
    assert "sk-ant-1" not in "".join(traceback.format_exception(told.value))


async def test_half_a_summary_in_whole_json_is_none(provider: Provider, summarizer: ApiSummarizer) -> None:
    provider.ways.append(Way(stop="max_tokens"))
    paid = await summarizer.summarize(TASK)
    assert (paid.answer.summary, paid.answer.problem[:14]) == (None, "it was cut off")
    assert paid.cost == provider.total_micro_usd()


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, Poison, "refuses this request"),
        (401, Retryable, "check ANTHROPIC_API_KEY"),
        (402, Retryable, "check the account's credit"),
        (403, Retryable, "check ANTHROPIC_API_KEY"),
        (404, Poison, "knows no model"),
        (413, Poison, "refuses this request"),
        (429, Retryable, "no answer now"),
        (500, Retryable, "no answer now"),
        (502, UnknownOutcome, "lost the answer"),
        (503, Retryable, "no answer now"),
        (504, UnknownOutcome, "lost the answer"),
        (529, Retryable, "no answer now"),
    ],
)
async def test_a_refusal_says_what_was_paid_and_no_more(
    provider: Provider, summarizer: ApiSummarizer, status: int, error: type[Outcome], reason: str
) -> None:
    provider.ways.append(Way(status=status, retry_after_s=12))
    with pytest.raises(error, match=reason) as refused:
        await summarizer.summarize(TASK)
    assert provider.requests == 1, "a client that repeats by itself pays twice for one grant"
    if status in {429, 500, 503, 529}:
        assert isinstance(refused.value, Retryable)
        assert refused.value.retry_after_s == 12
    told = "".join(traceback.format_exception(refused.value))
    assert "mill race" not in told
    assert "sk-ant-1" not in told


@pytest.mark.parametrize("way", [Way(nonsense=True), Way(broken=True), Way(delay_s=3)], ids=str)
async def test_an_answer_that_does_not_arrive_is_an_unknown_outcome(
    provider: Provider, summarizer: ApiSummarizer, way: Way
) -> None:
    provider.ways.append(way)
    with pytest.raises(UnknownOutcome):
        await summarizer.summarize(TASK)
    assert len(provider.invoice) == 1, "it was billed"


async def test_an_api_that_is_not_there_was_never_paid() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with open_client(base_url=url, key=None, timeout_s=2) as client:
            chat = AnthropicChat(client, model="m", tariff=TARIFF, max_tokens=500)
            with pytest.raises(Retryable, match="cannot be reached"):
                await ApiSummarizer(chat).summarize(TASK)


async def test_an_answer_that_was_cut_off_is_paid_and_asked_for_again(
    provider: Provider, summarizer: ApiSummarizer
) -> None:
    provider.ways.append(Way(stop="max_tokens"))
    provider.reply = lambda asked: {"key_points": ["half"]} if len(provider.invoice) == 1 else summary(asked)
    run = FakeRun()
    found = await MapReduce(summarizer, Limits(24_000, 12), split_sentences, language="en").summarise(run, TASK.text)
    assert found.summary.summary == "A summary by the stand-in."
    assert [call.cost for call in run.calls] == [line.micro_usd for line in provider.invoice]
    assert len(provider.invoice) == 2
    asked = json.loads(provider.invoice[1].raw)
    assert "it was cut off" in asked["system"]
    assert '<answer>\n{"key_points": ["half"]}\n</answer>' in asked["messages"][0]["content"]


async def test_a_refusal_of_the_model_is_paid_and_final(provider: Provider, summarizer: ApiSummarizer) -> None:
    provider.ways.append(Way(stop="refusal"))
    provider.reply = lambda _: "I would rather not."
    run = FakeRun()
    with pytest.raises(Poison, match="refuses to summarise"):
        await MapReduce(summarizer, Limits(24_000, 12), split_sentences, language="en").summarise(run, TASK.text)
    assert [call.cost for call in run.calls] == [line.micro_usd for line in provider.invoice]
    assert len(provider.invoice) == 1


@pytest.mark.parametrize("document", INJECTIONS.values(), ids=INJECTIONS)
async def test_a_document_cannot_change_the_question(
    provider: Provider, summarizer: ApiSummarizer, document: str
) -> None:
    await summarizer.summarize(TASK)
    await summarizer.summarize(Task(document, "en"))
    plain, asked = (json.loads(line.raw) for line in provider.invoice)
    assert {name: value for name, value in asked.items() if name != "messages"} == {
        name: value for name, value in plain.items() if name != "messages"
    }
    assert len(asked["messages"]) == 1


@pytest.mark.parametrize("said", FELL_FOR_IT.values(), ids=FELL_FOR_IT)
async def test_a_model_that_falls_for_a_document_gives_no_summary(
    provider: Provider, summarizer: ApiSummarizer, said: str
) -> None:
    provider.reply = lambda _: said
    run = FakeRun()
    with pytest.raises(Poison, match="did not answer in the form of a summary, 2 times"):
        await MapReduce(summarizer, Limits(24_000, 12), split_sentences, language="en").summarise(run, TASK.text)
    assert run.cost == provider.total_micro_usd()
    assert len(provider.invoice) == 2


async def test_a_long_text_costs_what_is_billed_and_no_more_than_was_said(
    provider: Provider, summarizer: ApiSummarizer
) -> None:
    text = "The mill race brings the water to the wheel, and the miller opens the gate. " * 60
    reducer, run = MapReduce(summarizer, Limits(1000, 12), split_sentences, language="en"), FakeRun()
    found = await reducer.summarise(run, text)
    assert found.parts == 5
    assert run.cost == provider.total_micro_usd() <= reducer.most(text)
    assert all(call.cost is not None and call.cost <= call.hold for call in run.calls)


def settings(**more: object) -> ChatSettings:
    return ChatSettings.model_validate({"llm_provider": "anthropic", "llm_model": MODEL, **more})


async def test_anthropics_prices_are_known() -> None:
    async with open_chats(settings(anthropic_api_key="sk-ant-1")) as chats:
        assert chats.of(None).model == MODEL
        with pytest.raises(Poison, match="no price of the model 'claude-of-tomorrow'"):
            chats.of("claude-of-tomorrow")


async def test_a_model_of_openai_or_without_a_price_is_refused_at_the_start() -> None:
    for wrong, sentence in (
        ({"llm_model": OPENAI_MODEL}, "name one of its models"),
        ({"llm_model": "claude-of-tomorrow", "anthropic_api_key": "sk-ant-1"}, "no price of the model"),
        ({}, "set ANTHROPIC_API_KEY or MILLRACE_LLM_BASE_URL"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            async with open_chats(settings(**wrong)):
                pass
    own = {
        "anthropic_api_key": "sk-ant-1",
        "llm_model": "claude-of-tomorrow",
        "llm_price_in": Decimal(1),
        "llm_price_out": Decimal(5),
    }
    async with open_chats(settings(**own)) as chats:
        assert chats.of(None).model == "claude-of-tomorrow"
