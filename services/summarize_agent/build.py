"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from millrace.clock import SystemClock
from millrace.models.child.pool import open_children
from millrace.models.lookup import token_tariff
from millrace.stream.app import Resources
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
    async with _open_summarizer(settings) as summarizer:
        yield SummarizeHandler(summarizer=summarizer, most_characters=settings.summarize_max_characters)


def _open_summarizer(settings: SummarizeSettings) -> AbstractAsyncContextManager[Summarizer]:
    return _open_api(settings) if settings.summarizes_by_api else _open_extractive(settings)


@asynccontextmanager
async def _open_extractive(settings: SummarizeSettings) -> AsyncIterator[Summarizer]:
    async with open_children(RECIPE, settings.care) as children:
        yield ExtractiveSummarizer(children, settings.summarize_price_per_second)


@asynccontextmanager
async def _open_api(settings: SummarizeSettings) -> AsyncIterator[Summarizer]:
    # A hundred megabytes and seconds that the other does without.
    from millrace.models.openai_api import open_client  # noqa: PLC0415 - memory and seconds that only its users pay
    from services.summarize_agent.adapters.api import ApiSummarizer  # noqa: PLC0415 - memory and seconds that only its users pay

    tariff = token_tariff(
        model=settings.llm_model,
        base_url=settings.llm_base_url,
        dollars_in=settings.llm_price_in,
        dollars_out=settings.llm_price_out,
        file=settings.prices,
        setting="MILLRACE_LLM_PRICE_IN and MILLRACE_LLM_PRICE_OUT",
        clock=SystemClock(),
    )
    client = open_client(
        base_url=settings.llm_base_url, key=settings.openai_api_key, timeout_s=settings.llm_timeout_s
    )
    async with client:
        yield ApiSummarizer(
            client,
            model=settings.llm_model,
            tariff=tariff,
            max_tokens=settings.llm_max_tokens,
            own_server=settings.llm_base_url is not None,
        )
