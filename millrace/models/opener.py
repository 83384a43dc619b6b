"""Embedding models by their names, each opened when it is first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from millrace.clock import SystemClock
from millrace.errors import ConfigurationError
from millrace.models import fastembed, wordllama
from millrace.models.child.pool import Care, ChildPool
from millrace.models.child.process import Recipe
from millrace.models.fastembed import FastembedChildren, find_model
from millrace.models.lookup import token_tariff
from millrace.models.port import EmbeddingModel
from millrace.models.settings import EmbeddingSettings
from millrace.models.wordllama import WordLlamaChildren, WordLlamaModel

if TYPE_CHECKING:
    import openai

_FOR_QUERIES = Care(jobs=10_000)
"""Children for short texts, one after another."""


class EmbeddingOpener:
    """Makes models; what they need is closed by the stack.

    A name says whose a model is: the bundled one's own, `fastembed/…`, and all others the API's.

    :param care: of child processes; None where only queries are embedded: the bundled model needs no child then.
    :param batch: most texts of a call of the API.
    """

    def __init__(
        self, settings: EmbeddingSettings, care: Care | None, stack: AsyncExitStack, *, batch: int = 100
    ) -> None:
        self._settings = settings
        self._care = care
        self._stack = stack
        self._batch = batch
        self._client: openai.AsyncOpenAI | None = None
        self._pools: dict[str, ChildPool] = {}

    async def own(self) -> EmbeddingModel:
        """The model that the settings choose, loaded if it shall be warm.

        :raises ConfigurationError: it cannot be used here, or nobody knows what it costs.
        """
        settings = self._settings
        if settings.embeds_by_api:
            return self._api(settings.embed_model)
        if settings.embed_backend == "fastembed":
            model = await asyncio.to_thread(self._fastembed, settings.embed_fastembed_model)
        else:
            model = await asyncio.to_thread(self._wordllama)
        pool = self._pools.get(model.name)
        if pool is not None and (self._care or _FOR_QUERIES).warm:
            await pool.ready()
        return model

    @property
    def bundled(self) -> tuple[str, Callable[[], EmbeddingModel]]:
        """Name of the bundled model, and what opens it: the one of this machine where settings choose an API."""
        return wordllama.NAME, self._wordllama

    def make(self, name: str) -> EmbeddingModel:
        """A model by its name, loaded when it is first asked. Blocks while its files are read.

        :raises ConfigurationError: it is not here.
        """
        if name == wordllama.NAME:
            return self._wordllama()
        if name.startswith(fastembed.PREFIX):
            return self._fastembed(name)
        if self._settings.has_embedding_api:
            return self._api(name)
        raise ConfigurationError(f"the model {name} is none of this machine, and no API of embeddings is set")

    def _wordllama(self) -> EmbeddingModel:
        price = self._settings.embed_price_per_second
        if self._care is None:
            return WordLlamaModel(price)
        return WordLlamaChildren(self._children(wordllama.RECIPE), price)

    def _fastembed(self, wanted: str) -> EmbeddingModel:
        settings = self._settings
        if "@" in wanted and wanted.startswith(fastembed.PREFIX):  # of a folder: only the settings know where it is
            found = find_model(settings.embed_fastembed_model, download=settings.embed_download)
            if found.name != wanted:
                raise ConfigurationError(f"the model {wanted} is not here: name its folder in the settings")
        else:
            found = find_model(wanted, download=settings.embed_download)
        return FastembedChildren(self._children(found.recipe()), found, settings.embed_price_per_second)

    def _children(self, recipe: Recipe) -> ChildPool:
        pool = ChildPool(recipe, self._care or _FOR_QUERIES)
        self._stack.push_async_callback(pool.close)
        self._pools[recipe.name] = pool
        return pool

    def _api(self, name: str) -> EmbeddingModel:
        # 120 MB and three seconds that processes with a local model do without.
        from millrace.models.openai_api import OpenAIEmbeddings, open_client  # noqa: PLC0415 - as above

        settings = self._settings
        tariff = token_tariff(
            model=name,
            base_url=settings.embed_base_url,
            dollars_in=settings.embed_price_in if name == settings.embed_model else None,
            dollars_out=None,
            writes=False,
            file=settings.prices,
            setting="MILLRACE_EMBED_PRICE_IN",
            clock=SystemClock(),
        )
        if self._client is None:
            self._client = open_client(
                base_url=settings.embed_base_url, key=settings.openai_api_key, timeout_s=settings.embed_timeout_s
            )
            self._stack.push_async_callback(self._client.close)
        return OpenAIEmbeddings(self._client, model=name, tariff=tariff, batch_size=self._batch)
