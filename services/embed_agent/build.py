"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from millrace.models.build import open_embeddings
from millrace.sentences import split_sentences
from millrace.store.vectors import keeping_indexes
from millrace.stream.connect import Resources
from services.embed_agent.adapters.pgvector import PgVectorStore
from services.embed_agent.handler import EmbedHandler
from services.embed_agent.settings import EmbedSettings


@asynccontextmanager
async def build_handler(settings: EmbedSettings, resources: Resources) -> AsyncIterator[EmbedHandler]:
    """The stage's handler, with its model loaded.

    :raises ConfigurationError: nobody knows what the model costs.
    """
    settings.check_local(by_api=settings.embeds_by_api)
    async with (
        open_embeddings(settings, settings.care) as models,
        keeping_indexes(settings.postgres.get_secret_value()),
    ):
        if settings.embed_model_large is not None:
            models.need(settings.embed_model_large)
        yield EmbedHandler(
            models,
            store=PgVectorStore(resources.database),
            blobs=resources.blobs,
            split=split_sentences,
            chunker=settings.embed_chunker,
            large=settings.embed_model_large,
        )
