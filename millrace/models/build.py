"""Chooses the embedding model that the settings ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from millrace.models.openai_api import OpenAIEmbeddings, open_client
from millrace.models.port import EmbeddingModel
from millrace.models.settings import EmbeddingSettings
from millrace.models.tariffs import api_tariff
from millrace.models.wordllama import WordLlamaModel


@asynccontextmanager
async def open_embedding(settings: EmbeddingSettings) -> AsyncIterator[EmbeddingModel]:
    """The embedding model, ready to be called.

    :raises ConfigurationError: nobody knows what the API's model costs.
    """
    if not settings.embeds_by_api:
        yield await asyncio.to_thread(WordLlamaModel, settings.embed_price_per_second)
        return
    tariff = api_tariff(
        model=settings.embed_model,
        base_url=settings.embed_base_url,
        dollars_in=settings.embed_price_in,
        dollars_out=None,
        setting="MILLRACE_EMBED_PRICE_IN",
    )
    client = open_client(
        base_url=settings.embed_base_url, key=settings.openai_api_key, timeout_s=settings.embed_timeout_s
    )
    async with client:
        yield OpenAIEmbeddings(client, model=settings.embed_model, tariff=tariff)
