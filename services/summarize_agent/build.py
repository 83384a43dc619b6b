"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from millrace.models.build import open_chats
from millrace.models.child.pool import open_children
from millrace.models.choice import Models
from millrace.sentences import split_sentences
from millrace.stream.connect import Resources
from services.summarize_agent.adapters.api import ApiSummarizer
from services.summarize_agent.adapters.extractive import RECIPE, ExtractiveSummarizer
from services.summarize_agent.handler import SummarizeHandler
from services.summarize_agent.ports import Summarizer
from services.summarize_agent.settings import SummarizeSettings


@asynccontextmanager
async def build_handler(settings: SummarizeSettings, _: Resources) -> AsyncIterator[SummarizeHandler]:
    """The stage's handler.

    :raises ConfigurationError: nobody knows what the API's model costs.
    """
    settings.check_local(by_api=settings.summarizes_by_api)
    async with _open_summarizers(settings) as summarizers:
        summarizers.need(*settings.choice.values())
        yield SummarizeHandler(
            summarizers,
            limits=settings.limits,
            choice=settings.choice,
            split=split_sentences,
            most_characters=settings.summarize_max_characters,
        )


def _open_summarizers(settings: SummarizeSettings) -> AbstractAsyncContextManager[Models[Summarizer]]:
    return _open_api(settings) if settings.summarizes_by_api else _open_extractive(settings)


@asynccontextmanager
async def _open_extractive(settings: SummarizeSettings) -> AsyncIterator[Models[Summarizer]]:
    async with open_children(RECIPE, settings.care) as children:
        summarizer = ExtractiveSummarizer(children, settings.summarize_price_per_second)
        yield Models(summarizer.model, summarizer)


@asynccontextmanager
async def _open_api(settings: SummarizeSettings) -> AsyncIterator[Models[Summarizer]]:
    async with open_chats(settings) as chats:
        yield chats.map(ApiSummarizer)
