"""What several speakers say in turn, for long recordings: sentences of existing texts in another order. Pure.

The sentences are those of the judged documents (`benchmarks/judged`), an hour and a half of reading. Each file takes
others, so nothing is said twice: a model that remembers its own last words would have an easier time with what is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from millrace.sentences import split_sentences

_ACCENTS: Final = ("en-us", "en-gb")
_VARIANTS: Final = ("", "+f2", "+f3", "+f4", "+m1", "+m3", "+m4", "+m7")
_SPEAKERS: Final = 5
_SLOWEST, _FASTEST = 130, 165  # words a minute
_FEWEST, _MOST = 4, 9  # sentences of a turn
_SHORTEST: Final = 4  # words of a sentence
_READABLE = re.compile(r"[A-Za-z ,.;:?!'\"-]+")
"""Figures, signs and letters with marks are read aloud in words of their own, which cannot be compared."""


@dataclass(frozen=True)
class Turn:
    """What one speaker says until the next one does; `voice` is a name of espeak-ng's."""

    text: str
    voice: str
    words_a_minute: int

    @property
    def seconds(self) -> float:
        """About how long that takes."""
        return len(self.text.split()) / self.words_a_minute * 60


def readable(texts: Sequence[str]) -> list[str]:
    """The different sentences that can be read aloud word for word, in order of the alphabet."""
    found = {" ".join(one.split()) for text in texts for one in split_sentences(text)}
    return sorted(one for one in found if _READABLE.fullmatch(one) and len(one.split()) >= _SHORTEST)


def conversations(sentences: Sequence[str], *, seconds: float, files: int) -> list[list[Turn]]:
    """For each file turns of about so many seconds or a little more, no sentence twice; always the same.

    :raises ValueError: there are too few sentences for that.
    """
    order = np.random.default_rng(3).permutation(len(sentences))
    left = iter([sentences[one] for one in order])
    return [_turns(left, seconds, np.random.default_rng(number)) for number in range(files)]


def _turns(left: Iterator[str], seconds: float, chance: np.random.Generator) -> list[Turn]:
    speakers = [
        (f"{chance.choice(_ACCENTS)}{variant}", int(chance.integers(_SLOWEST, _FASTEST)))
        for variant in chance.choice(_VARIANTS, _SPEAKERS, replace=False)
    ]
    turns: list[Turn] = []
    length_s = 0.0
    while length_s < seconds:
        said = list(islice(left, int(chance.integers(_FEWEST, _MOST))))
        if not said:
            raise ValueError(f"there are too few sentences for files of {seconds:.0f} s: ask for less")
        turns.append(Turn(" ".join(said), *speakers[len(turns) % _SPEAKERS]))
        length_s += turns[-1].seconds
    return turns
