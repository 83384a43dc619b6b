"""WordLlama: small static word vectors that come inside their package, and need neither a GPU nor a network."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from array import array
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel
from tokenizers import Tokenizer

from millrace.models.child.pool import ChildPool
from millrace.models.child.process import Recipe
from millrace.models.port import Backend, Embedded, Tariff, Use
from millrace.models.tariffs import PerSecond

_CONFIG = "l2_supercat"
DIMENSIONS = 256
NAME = f"wordllama-{_CONFIG}-{DIMENSIONS}"
RECIPE = Recipe(NAME, "millrace.models.wordllama_child:load", {})


class Texts(BaseModel):
    """What a child is asked to embed."""

    texts: list[str]


class Measured(BaseModel):
    """What it used; the vectors go with it as 32-bit floats of this machine, one after another."""

    tokens: int
    seconds: float


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
        if not all(text.strip() for text in texts):
            raise ValueError("a blank text has no meaning to embed")
        started = time.perf_counter()
        vectors: list[list[float]] = self._model.embed(texts, norm=True).tolist() if texts else []
        seconds = time.perf_counter() - started
        return Embedded(vectors, Use(tokens_in=sum(map(self.count_tokens, texts)), seconds=seconds))


class WordLlamaChildren(_Named):
    """In child processes, for whatever people share; implements `EmbeddingModel`."""

    def __init__(self, children: ChildPool, price_per_second: Decimal = Decimal(0)) -> None:
        super().__init__(price_per_second)
        self._children = children

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Ask a child."""
        measured, body = await self._children.ask(Texts(texts=list(texts)), Measured)
        numbers = array("f", body).tolist()
        vectors = [numbers[first : first + DIMENSIONS] for first in range(0, len(numbers), DIMENSIONS)]
        return Embedded(vectors, Use(tokens_in=measured.tokens, seconds=measured.seconds))
