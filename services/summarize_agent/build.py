"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
    settings.say_local(by_api=settings.summarizes_by_api)
    async with _open_summarizers(settings) as summarizers:
        summarizers.need(*settings.choice.values())
        yield SummarizeHandler(
            summarizers,
            limits=settings.limits,
            choice=settings.choice,
            split=split_sentences,
            most_characters=settings.summarize_max_characters,
        )


@asynccontextmanager
async def _open_summarizers(settings: SummarizeSettings) -> AsyncIterator[Models[Summarizer]]:
    by_api = settings.summarizes_by_api
    async with open_children(RECIPE, settings.care_of_model(by_api=by_api)) as children:
        local = ExtractiveSummarizer(children, settings.summarize_price_per_second)
        if by_api:
            async with open_chats(settings) as chats:
                yield chats.map(ApiSummarizer, beside=(local.model, lambda: local))
        else:
            yield Models[Summarizer](local.model, local)
