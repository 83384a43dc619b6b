"""Signatures of texts by which near-duplicates are found: MinHash over pairs of words. Pure.

Of two texts, the share of equal numbers in their signatures estimates the Jaccard similarity of their sets of word
pairs, with a standard error of at most 0.036 (Broder: On the resemblance and containment of documents, 1997).
Capitals, blanks and punctuation make no difference.
"""

from __future__ import annotations

import hashlib
import struct
import unicodedata
from itertools import pairwise
from typing import Final

from rensa import RMinHash

from millrace.text import tokens

NUMBERS: Final = 192
"""Of a signature."""
VERSION: Final = f"rensa-{RMinHash.ALGORITHM_VERSION}.1"
"""Signatures of another version are not compared with these."""
_ROWS: Final = 3
_SEED: Final = 1
_SIGNED: Final = 1 << 31
_BAND: Final = struct.Struct(f"<{_ROWS + 1}I")


def signature(text: str) -> list[int] | None:
    """`NUMBERS` signed 32-bit integers; None for a text without a word."""
    words = tokens(unicodedata.normalize("NFKC", text).casefold())
    if not words:
        return None
    pairs = {f"{one} {other}" for one, other in pairwise(words)} or set(words)
    sketch = RMinHash(num_perm=NUMBERS, seed=_SEED)
    sketch.update(sorted(pairs))
    return [number - _SIGNED for number in sketch.digest()]


def bands(numbers: list[int]) -> list[int]:
    """64 signed 32-bit integers: texts that share one are candidates.

    Each stands for three numbers, so that two texts of Jaccard similarity s share one with a chance of
    1 - (1 - s^3)^64: 98 % at 0.4, 6 % at 0.1 (Leskovec, Rajaraman, Ullman: Mining of Massive Datasets, 3.4).
    """
    return [
        int.from_bytes(hashlib.blake2b(_packed(at, numbers), digest_size=4).digest(), "little", signed=True)
        for at in range(0, NUMBERS, _ROWS)
    ]


def alike(one: list[int], other: list[int]) -> float:
    """The estimate of the Jaccard similarity, 0 to 1."""
    return sum(a == b for a, b in zip(one, other, strict=True)) / NUMBERS


def _packed(at: int, numbers: list[int]) -> bytes:
    return _BAND.pack(at, *(number + _SIGNED for number in numbers[at : at + _ROWS]))
