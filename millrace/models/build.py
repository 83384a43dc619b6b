"""Opens the models that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from millrace.clock import SystemClock
from millrace.errors import ConfigurationError
from millrace.models.child.pool import Care
from millrace.models.choice import Models
from millrace.models.lookup import token_tariff
from millrace.models.opener import EmbeddingOpener
from millrace.models.port import EmbeddingModel, Tariff
from millrace.models.question import ChatModel
from millrace.models.settings import ChatSettings, EmbeddingSettings


@asynccontextmanager
async def open_embedding(settings: EmbeddingSettings, care: Care | None) -> AsyncIterator[EmbeddingModel]:
    """The embedding model, ready to be called.

    :param care: of the child processes that a local model runs in; None for a few short texts, such as queries: they
        are embedded in this process, in less than a millisecond.
    :raises ConfigurationError: nobody knows what the API's model costs.
    """
    async with open_embeddings(settings, care) as models:
        yield models.of(None)


@asynccontextmanager
async def open_embeddings(
    settings: EmbeddingSettings, care: Care | None, *, batch: int = 100
) -> AsyncIterator[Models[EmbeddingModel]]:
    """The embedding model, and others by their names: of this machine, or of the API if there is one.

    :param care: as in `open_embedding`.
    :param batch: most texts of a call of the API.
    :raises ConfigurationError: nobody knows what the API's model costs, or a local one is not here.
    """
    async with AsyncExitStack() as stack:
        opener = EmbeddingOpener(settings, care, stack, batch=batch)
        own = await opener.own()
        yield Models(own.name, own, opener.make, beside=opener.bundled if own.backend == "api" else None)


@asynccontextmanager
async def open_chats(settings: ChatSettings) -> AsyncIterator[Models[ChatModel]]:
    """The model that the settings name, and others of the same API for commands that name them.

    :raises ConfigurationError: nobody knows what the model costs, or the provider's package is not installed.
    """
    settings.check_llm()
    opened = _open_anthropic if settings.llm_provider == "anthropic" else _open_openai
    async with opened(settings) as make:
        yield Models(settings.llm_model, make(settings.llm_model), make)


@asynccontextmanager
async def _open_openai(settings: ChatSettings) -> AsyncIterator[Callable[[str], ChatModel]]:
    # A hundred megabytes and seconds that local models do without.
    from millrace.models.chat import Chat  # noqa: PLC0415 - memory and seconds that only its users pay
    from millrace.models.openai_api import open_client  # noqa: PLC0415 - memory and seconds that only its users pay

    def make(name: str) -> ChatModel:
        own_server = settings.llm_base_url is not None
        tariff, most = _tariff(settings, name), settings.llm_max_tokens
        return Chat(client, model=name, tariff=tariff, max_tokens=most, own_server=own_server)

    client = open_client(base_url=settings.llm_base_url, key=settings.llm_key, timeout_s=settings.llm_timeout_s)
    async with client:
        yield make


@asynccontextmanager
async def _open_anthropic(settings: ChatSettings) -> AsyncIterator[Callable[[str], ChatModel]]:
    try:
        from millrace.models.anthropic_api import AnthropicChat, open_client  # noqa: PLC0415 - as above
    except ImportError as exc:
        raise ConfigurationError("MILLRACE_LLM_PROVIDER is anthropic: install millrace[anthropic]") from exc

    def make(name: str) -> ChatModel:
        return AnthropicChat(client, model=name, tariff=_tariff(settings, name), max_tokens=settings.llm_max_tokens)

    client = open_client(base_url=settings.llm_base_url, key=settings.llm_key, timeout_s=settings.llm_timeout_s)
    async with client:
        yield make


def _tariff(settings: ChatSettings, name: str) -> Tariff:
    own = name == settings.llm_model
    return token_tariff(
        model=name,
        base_url=settings.llm_base_url,
        provider=settings.llm_provider,
        dollars_in=settings.llm_price_in if own else None,
        dollars_out=settings.llm_price_out if own else None,
        file=settings.prices,
        setting="MILLRACE_LLM_PRICE_IN and MILLRACE_LLM_PRICE_OUT",
        clock=SystemClock(),
    )
