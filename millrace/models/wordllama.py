"""WordLlama: small static word vectors that come inside their package, and need neither a GPU nor a network."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from tokenizers import Tokenizer

from millrace.models.asked_texts import asked, timed
from millrace.models.child.pool import ChildPool
from millrace.models.child.process import Recipe
from millrace.models.port import Backend, Embedded, Tariff
from millrace.models.tariffs import PerSecond

_CONFIG = "l2_supercat"
DIMENSIONS = 256
NAME = f"wordllama-{_CONFIG}-{DIMENSIONS}"
RECIPE = Recipe(NAME, "millrace.models.wordllama_child:load", {})


def _folder() -> Path:
    # Not by importing it, which takes half a second and 60 MB.
    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("wordllama is not installed: install millrace[models]")
    return Path(spec.origin).parent


class _Named:
    """What is the same wherever the vectors are looked up."""

    backend: Backend = "local"
    name = NAME
    dimensions = DIMENSIONS
    batch_size = 1000
    # It takes any: what bounds them is memory, of which a token takes a kilobyte.
    text_tokens = 100_000
    batch_tokens = 500_000

    def __init__(self, price_per_second: Decimal = Decimal(0)) -> None:
        self.tariff: Tariff = PerSecond(price_per_second, tokens_per_second=10_000)
        self._tokenizer = Tokenizer.from_file(str(_folder() / "tokenizers" / f"{_CONFIG}_tokenizer_config.json"))

    def count_tokens(self, text: str) -> int:
        """Exact, without the mark that starts every text."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


class WordLlamaModel(_Named):
    """In this process, for short texts: 256 dimensions, a query in less than a millisecond.

    Implements `EmbeddingModel`.
    """

    def __init__(self, price_per_second: Decimal = Decimal(0)) -> None:
        """Load the vectors; takes 0.6 s and blocks: call it in a thread."""
        import wordllama  # noqa: PLC0415 - memory and seconds that only its users pay

        super().__init__(price_per_second)
        self._model = wordllama.WordLlama.load(
            config=_CONFIG, dim=DIMENSIONS, cache_dir=_folder(), disable_download=True
        )

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Look the vectors up in a thread."""
        return await asyncio.to_thread(self.embed_now, list(texts))

    def embed_now(self, texts: list[str]) -> Embedded:
        """As `embed`, in this thread: about 1000 short texts in 20 ms."""
        return timed(texts, self.count_tokens, self._vectors)

    def _vectors(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._model.embed(texts, norm=True).tolist()
        return vectors


class WordLlamaChildren(_Named):
    """In child processes, for whatever people share; implements `EmbeddingModel`."""

    def __init__(self, children: ChildPool, price_per_second: Decimal = Decimal(0)) -> None:
        super().__init__(price_per_second)
        self._children = children

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Ask a child."""
        return await asked(self._children, texts, DIMENSIONS)
