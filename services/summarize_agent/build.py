"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from millrace.clock import SystemClock
from millrace.models.child.pool import open_children
from millrace.models.lookup import token_tariff
from millrace.stream.app import Resources
from services.summarize_agent.adapters.extractive import RECIPE, ExtractiveSummarizer
from services.summarize_agent.handler import SummarizeHandler
from services.summarize_agent.ports import Summarizer
from services.summarize_agent.settings import SummarizeSettings

Make = Callable[[str], Summarizer]
"""Makes the summarizer of another model by its name; raises ConfigurationError where nobody knows what it costs."""


@asynccontextmanager
async def build_handler(settings: SummarizeSettings, _: Resources) -> AsyncIterator[SummarizeHandler]:
    """The stage's handler.

    :raises ConfigurationError: nobody knows what the API's model costs.
    """
    settings.check_local(by_api=settings.summarizes_by_api)
    async with _open_summarizers(settings) as (summarizer, others):
        yield SummarizeHandler(
            summarizer=summarizer, most_characters=settings.summarize_max_characters, others=others
        )


def _open_summarizers(settings: SummarizeSettings) -> AbstractAsyncContextManager[tuple[Summarizer, Make | None]]:
    return _open_api(settings) if settings.summarizes_by_api else _open_extractive(settings)


@asynccontextmanager
async def _open_extractive(settings: SummarizeSettings) -> AsyncIterator[tuple[Summarizer, Make | None]]:
    async with open_children(RECIPE, settings.care) as children:
        yield ExtractiveSummarizer(children, settings.summarize_price_per_second), None


@asynccontextmanager
async def _open_api(settings: SummarizeSettings) -> AsyncIterator[tuple[Summarizer, Make | None]]:
    # A hundred megabytes and seconds that the other does without.
    from millrace.models.openai_api import open_client  # noqa: PLC0415 - memory and seconds that only its users pay
    from services.summarize_agent.adapters.api import ApiSummarizer  # noqa: PLC0415 - memory and seconds that only its users pay

    def make(name: str) -> Summarizer:
        own = name == settings.llm_model
        tariff = token_tariff(
            model=name,
            base_url=settings.llm_base_url,
            dollars_in=settings.llm_price_in if own else None,
            dollars_out=settings.llm_price_out if own else None,
            file=settings.prices,
            setting="MILLRACE_LLM_PRICE_IN and MILLRACE_LLM_PRICE_OUT",
            clock=SystemClock(),
        )
        return ApiSummarizer(
            client,
            model=name,
            tariff=tariff,
            max_tokens=settings.llm_max_tokens,
            own_server=settings.llm_base_url is not None,
        )

    client = open_client(
        base_url=settings.llm_base_url, key=settings.openai_api_key, timeout_s=settings.llm_timeout_s
    )
    async with client:
        yield make(settings.llm_model), make
