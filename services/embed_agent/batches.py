"""Which chunks go in a call, and its answer as it is kept.

Compact, because a hundred vectors written as decimals are megabytes.
"""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from millrace.models.port import Embedded
from services.embed_agent.together import Part

T = TypeVar("T", bound="Sized")


class Sized(Protocol):
    """What counts in a call."""

    @property
    def tokens(self) -> int:
        """Of the text."""
        ...


class Batch(BaseModel):
    """Vectors of a batch, one after another, as little-endian 32-bit floats in base64; and whose they are.

    `hashes` are the content hashes of the texts: who goes on with the work may ask for others under the same number.
    `parts` say who pays how much; without any, all is the caller's.
    """

    model_config = ConfigDict(frozen=True)

    hashes: list[str]
    vectors: str
    dimensions: int
    tokens: int
    parts: list[Part] = []


def packed(embedded: Embedded, hashes: Sequence[str], parts: Sequence[Part] = ()) -> Batch:
    """An answer of at least one vector, as it is kept.

    :param hashes: of the texts, in the order of the vectors.
    """
    numbers = array("f", (number for vector in embedded.vectors for number in vector))
    if sys.byteorder == "big":
        numbers.byteswap()
    return Batch(
        hashes=list(hashes),
        vectors=b64encode(numbers.tobytes()).decode("ascii"),
        dimensions=len(embedded.vectors[0]),
        tokens=embedded.use.tokens_in,
        parts=list(parts),
    )


def unpacked(batch: Batch) -> dict[str, array[float]]:
    """The vectors, each of length `dimensions`, by content hash."""
    numbers = array("f", b64decode(batch.vectors))
    if sys.byteorder == "big":
        numbers.byteswap()
    size = batch.dimensions
    return {name: numbers[at * size : (at + 1) * size] for at, name in enumerate(batch.hashes)}


def calls_of(chunks: Sequence[T], *, texts: int, tokens: int) -> Iterator[list[T]]:
    """The chunks call by call, in order: at most so many texts and tokens, or one chunk alone."""
    call: list[T] = []
    for chunk in chunks:
        if call and (len(call) == texts or sum(one.tokens for one in call) + chunk.tokens > tokens):
            yield call
            call = []
        call.append(chunk)
    if call:
        yield call
