"""What a share costs by the list, to the micro-dollar: OpenAI's tokenizer, SDK and published price, over HTTP."""

from __future__ import annotations

import math
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from millrace.clock import SystemClock
from millrace.models.lookup import token_tariff
from millrace.models.openai_api import OpenAIEmbeddings, open_client, token_counter
from millrace.store.database import Database
from millrace.testing.registry import codec_in_memory
from services.api_gateway import projections
from services.embed_agent.together import AT_ONCE
from tests.support.embed_bench import EmbedBench
from tests.support.provider import Provider, serve_provider

MODEL = "text-embedding-3-small"
LIST = 20_000
"""Micro-dollars a million tokens (https://platform.openai.com/docs/pricing, 2026)."""
count = token_counter(MODEL)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with serve_provider() as served:
        yield served


@pytest.fixture
async def model(provider: Provider) -> AsyncIterator[OpenAIEmbeddings]:
    tariff = token_tariff(
        model=MODEL,
        base_url=None,
        dollars_in=None,
        dollars_out=None,
        writes=False,
        file=None,
        setting="MILLRACE_EMBED_PRICE_IN",
        clock=SystemClock(),
    )
    async with open_client(base_url=provider.url, key=SecretStr("sk-stand-in"), timeout_s=10) as client:
        yield OpenAIEmbeddings(client, model=MODEL, tariff=tariff)


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> EmbedBench:
    return EmbedBench(database, await codec_in_memory(), tmp_path)


def article(tokens: int) -> str:
    """A text of exactly so many tokens in paragraphs of 500, each a chunk, that nobody else has."""
    return "\n\n".join(paragraph(min(500, tokens - begun)) for begun in range(0, tokens, 500))


def paragraph(tokens: int) -> str:
    text = f"Mill {uuid.uuid4().hex}." + " The miller opens the gate, and the wheel turns." * (tokens // 20)
    while count(text) < tokens:
        text += " so"
    assert count(text) == tokens
    return text


async def costs(bench: EmbedBench, shares: list[str]) -> list[int]:
    """By the receipts of each share."""
    found = []
    for share in shares:
        receipts = await bench.rows(projections._CALLS, share)
        assert {row["state"] for row in receipts} == {"settled"}
        found.append(sum(row["actual_micro_usd"] for row in receipts))
    return found


async def test_an_article_of_a_thousand_tokens_costs_what_the_list_says(
    bench: EmbedBench, model: OpenAIEmbeddings, provider: Provider
) -> None:
    before, message = len(provider.invoice), bench.message(article(1000))
    await bench.agent(model=model, patience=AT_ONCE).execute(message)
    (line,) = provider.invoice[before:]
    assert line.tokens_in == 1000
    assert await costs(bench, [message.key.decode()]) == [1000 * LIST // 1_000_000] == [20]
    assert (await bench.job(message))["cost_micro_usd"] == 20


async def test_articles_in_one_call_pay_for_their_tokens_and_no_more_than_it(
    bench: EmbedBench, model: OpenAIEmbeddings, provider: Provider
) -> None:
    before = len(provider.invoice)
    messages = [bench.message(article(tokens)) for tokens in (400, 1000, 2000, 300)]
    for message in messages[1:]:
        await bench.agent(model=model).execute(message)
    await bench.agent(model=model, patience=AT_ONCE).execute(messages[0])
    for message in await bench.due():
        await bench.agent(model=model).execute(message)
    (line,) = provider.invoice[before:]
    paid = await costs(bench, [message.key.decode() for message in messages])
    assert sum(paid) == math.ceil(line.tokens_in * LIST / 1_000_000)
    assert line.tokens_in == 3700
    assert all(abs(one - exact) <= 1 for one, exact in zip(paid, (8, 20, 40, 6), strict=True))
