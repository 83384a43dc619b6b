"""What a model is to those who call it: the port, and what a call used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

from millrace.money import MicroUSD

Backend = Literal["local", "api"]
A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True)
class Use:
    """What a call used: tokens or sound as the provider counted them, or seconds of this machine's work."""

    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    audio_ms: int = 0


@dataclass(frozen=True)
class Paid(Generic[A]):
    """A model's answer, what it really cost, and what was used for it as far as that is counted."""

    answer: A
    cost: MicroUSD
    use: Use = Use()


@dataclass(frozen=True)
class Embedded:
    """Vectors of a batch of texts, in their order, and what making them used. Compare them by cosine."""

    vectors: list[list[float]]
    use: Use


class Tariff(Protocol):
    """What a model costs; micro-US-dollars, rounded up once a call."""

    def most(self, tokens_in: int = 0, tokens_out: int = 0, *, audio_ms: int = 0) -> MicroUSD:
        """The most that a call of up to so many tokens, or so much sound, can cost: the amount to hold for it.

        For prices of an API it is never below `cost` of the same or fewer. How long a local model works can only be
        expected.
        """
        ...

    def cost(self, use: Use) -> MicroUSD:
        """What a call did cost. Raises nothing: the call has been paid for by then."""
        ...


class EmbeddingModel(Protocol):
    """Turns texts into vectors; near in meaning is near in direction."""

    @property
    def backend(self) -> Backend:
        """Where the model runs."""
        ...

    @property
    def name(self) -> str:
        """Name of the model; vectors of different names cannot be compared."""
        ...

    @property
    def dimensions(self) -> int:
        """Length of its vectors; 0 for a model behind an API that has not been asked yet."""
        ...

    @property
    def batch_size(self) -> int:
        """Most texts a call."""
        ...

    @property
    def text_tokens(self) -> int:
        """Most tokens of one text."""
        ...

    @property
    def batch_tokens(self) -> int:
        """Most tokens of all texts of a call."""
        ...

    @property
    def tariff(self) -> Tariff:
        """What it costs."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text: exact where the tokenizer is known, otherwise never too few."""
        ...

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """Vectors of texts that are not blank.

        :raises Retryable: the model could not be asked; nothing was paid.
        :raises Poison: it refuses these texts; nothing was paid.
        :raises UnknownOutcome: it was asked, and its answer is not known.
        """
        ...
