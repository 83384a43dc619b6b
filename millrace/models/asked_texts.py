"""What a child process with an embedding model is asked, and how vectors come back from it."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from itertools import chain

from pydantic import BaseModel

from millrace.models.child.pool import ChildPool
from millrace.models.child.program import Answer, Tell, Work
from millrace.models.port import Embedded, Use


class Texts(BaseModel):
    """What a child is asked to embed."""

    texts: list[str]


class Measured(BaseModel):
    """What it used; the vectors go with it as 32-bit floats of this machine, one after another."""

    tokens: int
    seconds: float


async def asked(children: ChildPool, texts: Sequence[str], dimensions: int) -> Embedded:
    """Ask a child; its vectors have this length."""
    measured, body = await children.ask(Texts(texts=list(texts)), Measured)
    numbers = array("f", body).tolist()
    vectors = [numbers[first : first + dimensions] for first in range(0, len(numbers), dimensions)]
    return Embedded(vectors, Use(tokens_in=measured.tokens, seconds=measured.seconds))


def answering(embed: Callable[[list[str]], Embedded]) -> Work:
    """What a child does: answers `Texts` with `Measured` and the vectors."""

    def work(question: bytes, _: bytes, __: Tell) -> Answer:
        embedded = embed(Texts.model_validate_json(question).texts)
        numbers = array("f", chain.from_iterable(embedded.vectors))
        return Measured(tokens=embedded.use.tokens_in, seconds=embedded.use.seconds), numbers.tobytes()

    return work


def timed(texts: list[str], count: Callable[[str], int], embed: Callable[[list[str]], list[list[float]]]) -> Embedded:
    """Embed texts that are not blank, and say what that took."""
    if not all(text.strip() for text in texts):
        raise ValueError("a blank text has no meaning to embed")
    started = time.perf_counter()
    vectors = embed(texts) if texts else []
    seconds = time.perf_counter() - started
    return Embedded(vectors, Use(tokens_in=sum(map(count, texts)), seconds=seconds))
