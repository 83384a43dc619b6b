"""Chooses the embedding model that the settings ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from millrace.clock import SystemClock
from millrace.models.child.pool import Care, open_children
from millrace.models.lookup import token_tariff
from millrace.models.port import EmbeddingModel
from millrace.models.settings import EmbeddingSettings
from millrace.models.wordllama import RECIPE, WordLlamaChildren, WordLlamaModel


@asynccontextmanager
async def open_embedding(settings: EmbeddingSettings, care: Care | None) -> AsyncIterator[EmbeddingModel]:
    """The embedding model, ready to be called.

    :param care: of the child processes that a local model runs in; None for a few short texts, such as queries: they
        are embedded in this process, in less than a millisecond.
    :raises ConfigurationError: nobody knows what the API's model costs.
    """
    price = settings.embed_price_per_second
    if settings.embeds_by_api:
        async with _open_api(settings) as model:
            yield model
    elif care is None:
        yield await asyncio.to_thread(WordLlamaModel, price)
    else:
        async with open_children(RECIPE, care) as children:
            yield await asyncio.to_thread(WordLlamaChildren, children, price)


@asynccontextmanager
async def _open_api(settings: EmbeddingSettings) -> AsyncIterator[EmbeddingModel]:
    # 120 MB and three seconds that processes with a local model do without.
    from millrace.models.openai_api import OpenAIEmbeddings, open_client  # noqa: PLC0415 - memory and seconds that only its users pay

    tariff = token_tariff(
        model=settings.embed_model,
        base_url=settings.embed_base_url,
        dollars_in=settings.embed_price_in,
        dollars_out=None,
        writes=False,
        file=settings.prices,
        setting="MILLRACE_EMBED_PRICE_IN",
        clock=SystemClock(),
    )
    client = open_client(
        base_url=settings.embed_base_url, key=settings.openai_api_key, timeout_s=settings.embed_timeout_s
    )
    async with client:
        yield OpenAIEmbeddings(client, model=settings.embed_model, tariff=tariff)
