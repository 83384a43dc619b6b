"""WordLlama: small static word vectors that come inside their package, and need neither a GPU nor a network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import wordllama

from millrace.models.port import Backend, Embedded, Tariff, Use
from millrace.models.tariffs import PerSecond

_CONFIG = "l2_supercat"
_DIMENSIONS = 256


class WordLlamaModel:
    """Implements `EmbeddingModel`: 256 dimensions, about 1000 short texts in 20 ms."""

    backend: Backend = "local"
    name = f"wordllama-{_CONFIG}-{_DIMENSIONS}"
    dimensions = _DIMENSIONS
    batch_size = 1000

    def __init__(self, price_per_second: Decimal = Decimal(0)) -> None:
        """Load the vectors; takes 0.2 s and blocks: call it in a thread."""
        folder = Path(wordllama.__file__).parent
        self._model = wordllama.WordLlama.load(
            config=_CONFIG, dim=_DIMENSIONS, cache_dir=folder, disable_download=True
        )
        self.tariff: Tariff = PerSecond(price_per_second, tokens_per_second=10_000)

    def count_tokens(self, text: str) -> int:
        """Exact, without the mark that starts every text."""
        return len(self._model.tokenizer.encode(text, add_special_tokens=False).ids)

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Look the vectors up in a thread."""
        return await asyncio.to_thread(self._embed, list(texts))

    def _embed(self, texts: list[str]) -> Embedded:
        if not all(text.strip() for text in texts):
            raise ValueError("a blank text has no meaning to embed")
        started = time.perf_counter()
        vectors: list[list[float]] = self._model.embed(texts, norm=True).tolist() if texts else []
        seconds = time.perf_counter() - started
        return Embedded(vectors, Use(tokens_in=sum(map(self.count_tokens, texts)), seconds=seconds))
