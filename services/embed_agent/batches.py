"""The answer to a call as it is kept: compact, because a hundred vectors written as decimals are megabytes."""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode, b64encode

from pydantic import BaseModel, ConfigDict

from millrace.models.port import Embedded


class Batch(BaseModel):
    """Vectors of a batch, one after another, as little-endian 32-bit floats in base64."""

    model_config = ConfigDict(frozen=True)

    vectors: str
    dimensions: int
    tokens: int


def packed(embedded: Embedded) -> Batch:
    """An answer of at least one vector, as it is kept."""
    numbers = array("f", (number for vector in embedded.vectors for number in vector))
    if sys.byteorder == "big":
        numbers.byteswap()
    return Batch(
        vectors=b64encode(numbers.tobytes()).decode("ascii"),
        dimensions=len(embedded.vectors[0]),
        tokens=embedded.use.tokens_in,
    )


def unpacked(batch: Batch) -> list[array[float]]:
    """The vectors, each of length `dimensions`."""
    numbers = array("f", b64decode(batch.vectors))
    if sys.byteorder == "big":
        numbers.byteswap()
    return [numbers[first : first + batch.dimensions] for first in range(0, len(numbers), batch.dimensions)]
