"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from millrace.clock import SystemClock
from millrace.models.build import open_embeddings
from millrace.sentences import split_sentences
from millrace.store.vectors import keeping_indexes
from millrace.stream.connect import Resources
from services.embed_agent.adapters.insights import keeping_insights
from services.embed_agent.adapters.pending import PgPendingTexts
from services.embed_agent.adapters.pgvector import PgVectorStore
from services.embed_agent.buying import Buyer
from services.embed_agent.handler import EmbedHandler
from services.embed_agent.settings import EmbedSettings

log = logging.getLogger(__name__)
_SWEEP_EVERY_S: Final = 600.0


@asynccontextmanager
async def build_handler(settings: EmbedSettings, resources: Resources) -> AsyncIterator[EmbedHandler]:
    """The stage's handler, with its model loaded.

    :raises ConfigurationError: nobody knows what the model costs.
    """
    settings.say_local(by_api=settings.embeds_by_api)
    store, pending = PgVectorStore(resources.database), PgPendingTexts(resources.database)
    async with (
        open_embeddings(settings, settings.care, batch=settings.embed_batch) as models,
        keeping_indexes(settings.postgres.get_secret_value()),
        _swept(pending),
        keeping_insights(resources.database),
    ):
        if settings.embed_model_large is not None:
            models.need(settings.embed_model_large)
        yield EmbedHandler(
            models,
            store=store,
            buyer=Buyer(store, pending, settings.patience, SystemClock()),
            blobs=resources.blobs,
            split=split_sentences,
            chunker=settings.embed_chunker,
            large=settings.embed_model_large,
        )


@asynccontextmanager
async def _swept(pending: PgPendingTexts) -> AsyncIterator[None]:
    task = asyncio.create_task(_sweep(pending))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _sweep(pending: PgPendingTexts) -> None:
    while True:
        await asyncio.sleep(_SWEEP_EVERY_S)
        try:
            await pending.sweep()
        except Exception:  # nobody waits for it
            log.exception("texts that nobody wants any more could not be removed; trying again later")
