"""How much of a text is worth reading, by rule: a score from 0 to 1, and what it is made of. Pure.

It is about form: a well-formed lie scores as high as a well-formed truth.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Final

from millrace.text import count_words, looks_binary, tokens

LOOKED_AT: Final = 20_000
"""Characters, from the beginning."""
_ENOUGH_WORDS: Final = 120
_SENTENCE_END: Final = re.compile(r"[.!?\u2026]+(?=\s|\Z)|[\u3002\uff01\uff1f\u0964\u061f\u06d4]")
_LINK: Final = re.compile(r"https?://\S+|www\.\S+")
_TAG: Final = re.compile(r"<[^<>]{1,300}>")
_WINDOW: Final = 50
_WEIGHTS: Final = {
    "length": 0.3,
    "sentences": 0.2,
    "repetition": 0.2,
    "links": 0.1,
    "shouting": 0.1,
    "vocabulary": 0.1,
}


@dataclass(frozen=True)
class Quality:
    """Each part from 0, the worst, to 1."""

    length: float = 0.0
    sentences: float = 0.0
    repetition: float = 0.0
    links: float = 0.0
    shouting: float = 0.0
    vocabulary: float = 0.0

    @property
    def score(self) -> float:
        """Their weighted geometric mean: what fails in one part is not made good by the others."""
        parts = asdict(self)
        if not all(parts.values()):
            return 0.0
        return round(math.exp(math.fsum(weight * math.log(parts[name]) for name, weight in _WEIGHTS.items())), 3)


def quality_of(text: str) -> Quality:
    """The parts of a text's quality, from its first `LOOKED_AT` characters; all 0 for what is no text."""
    looked_at = text[:LOOKED_AT].strip()
    words = count_words(looked_at)
    if not words or looks_binary(looked_at):
        return Quality()
    return Quality(
        length=_clipped(math.log1p(words) / math.log1p(_ENOUGH_WORDS)),
        sentences=_sentences(looked_at, words),
        repetition=_repetition(looked_at),
        links=_links(looked_at),
        shouting=_shouting(looked_at),
        vocabulary=_vocabulary(looked_at),
    )


def _sentences(text: str, words: int) -> float:
    """1 for 5 to 35 words a sentence, falling to 0.2: what is no sentence may still be a good list."""
    each = words / max(1, len(_SENTENCE_END.findall(text)))
    return max(0.2, _clipped(each / 5 if each < 5 else (100 - each) / 65))


def _repetition(text: str) -> float:
    """By how far it can be compressed: 1 to a third, 0 to an eighth.

    Whisper takes speech that compresses below 1 / 2.4 in half a minute for a loop; a long text of prose comes to that
    by itself.
    """
    content = text.encode("utf-8", "replace")
    ratio = len(zlib.compress(content, 9)) / len(content)
    return _clipped((ratio - 1 / 8) / (1 / 3 - 1 / 8))


def _links(text: str) -> float:
    """1 for none, 0 when half of the characters are links and tags."""
    without = _TAG.sub("", _LINK.sub("", text))
    return _clipped(1 - 2 * (1 - len(without) / len(text)))


def _shouting(text: str) -> float:
    """1 for sentences as they are written, falling with capitals (above a third) and runs of exclamation marks."""
    capitals = sum(map(str.isupper, text))
    cased = capitals + sum(map(str.islower, text))
    loud = 0.0 if cased < 20 else max(0.0, capitals / cased - 1 / 3) * 1.2
    marks = text.count("!!") + text.count("\uff01\uff01")
    return max(0.1, _clipped(1 - loud - marks / max(10, len(text) / 100)))


def _vocabulary(text: str) -> float:
    """By the mean share of different words in each window of 50: 1 from 60 %, 0 at 20 %.

    The moving-average type-token ratio (Covington, McFall 2010), which does not fall with the length of a text.
    """
    words = tokens(text.casefold())
    if not words:
        return 0.0
    window = min(_WINDOW, len(words))
    seen = Counter(words[:window])
    total = len(seen)
    for old, new in zip(words, words[window:], strict=False):
        seen[new] += 1
        seen[old] -= 1
        if not seen[old]:
            del seen[old]
        total += len(seen)
    ratio = total / (len(words) - window + 1) / window
    return _clipped((ratio - 0.2) / 0.4)


def _clipped(value: float) -> float:
    return round(min(1.0, max(0.0, value)), 3)
