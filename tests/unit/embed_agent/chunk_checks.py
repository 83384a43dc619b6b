"""What is true of the chunks of any text, whoever cut them; and texts that chunkers have trouble with."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import strategies as st

from services.embed_agent.domain import Chunk

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
PERSIAN = "می\u200cخواهم کتاب را بخوانم"  # noqa: RUF001 - written so
WORDS = st.one_of(
    st.sampled_from(["mill", "wheel", "a", "gate.", "Water!", "שלום", "طاحونة", PERSIAN, "Mühle?", FAMILY, "🎡🎡"]),
    st.sampled_from(["水车在转。", "水車は回る。そして水は流れる", "물레방아", "กังหันน้ำ"]),
    # Not the same again and again: where a chunk stands in the text has to be clear.
    st.integers(1, 400).map(lambda length: "".join(map(chr, range(0x4E00, 0x4E00 + length)))),
    st.integers(1, 1000).map(lambda length: "".join(map(str, range(length)))),
)
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n", "\n\n# A header\n\n", ". ", "\u3000"])
TEXTS = st.lists(st.tuples(WORDS, GAPS), min_size=1, max_size=200).map(
    lambda pairs: "".join(f"{number}{word}{gap}" for number, (word, gap) in enumerate(pairs))
)


def letters(text: str) -> str:
    return "".join(text.split())


def count(text: str) -> int:
    """A token a word, one for each ten letters beyond, and as many for each sign that is not ASCII."""
    return sum(1 + len(word) // 10 + sum(not sign.isascii() for sign in word) for word in text.split())


def split(text: str) -> list[str]:
    return re.findall(r"[^.!?。]*[.!?。]+\s*|[^.!?。]+$", text)


def check(text: str, chunks: Sequence[Chunk], most: int) -> None:
    """All that is said is in the chunks, in order, and each says something new.

    A chunk's letters have to stand in the text where the last chunk ended, or before that where it overlaps.
    """
    whole, start, covered = letters(text), 0, 0
    for chunk in chunks:
        said = letters(chunk.text)
        assert said, "no chunk is empty"
        assert chunk.text == chunk.text.rstrip()
        assert chunk.tokens <= most
        start = whole.rfind(said, start, covered + len(said))
        assert start >= 0, f"{chunk.text[:50]!r} goes on elsewhere"
        assert start + len(said) > covered, "nothing new"
        covered = start + len(said)
    assert covered == len(whole), "the end is lost"
