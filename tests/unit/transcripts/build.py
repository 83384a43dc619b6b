"""Transcripts as models make them, good and bad, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import strategies as st
from pydantic import TypeAdapter

from millrace.contracts.events import Segment, Word

WORDS = [
    "a",
    "I",
    "so,",
    "ask",
    "country",
    "Mr.",
    "end.",
    "Really?",
    "don't",
    "incomprehensibility",
    "3.5",
    "na\u00efve",
]
JFK: list[Segment] = TypeAdapter(list[Segment]).validate_json(
    (Path(__file__).parent / "jfk.segments.json").read_bytes()
)
"""What faster-whisper's tiny.en heard in `millrace/testing/media/jfk.wav`."""


def said(text: str, start_ms: int = 0, end_ms: int = 10_000, *, timed: Sequence[tuple[int, int]] = ()) -> Segment:
    """A segment; with as many times as it has words, those are the times of its words."""
    words = [
        Word(start_ms=start, end_ms=end, text=word) for word, (start, end) in zip(text.split(), timed, strict=False)
    ]
    return Segment(start_ms=start_ms, end_ms=end_ms, text=text, words=words or None)


def spoken(text: str, *, word_ms: int = 300, start_ms: int = 0) -> Segment:
    """A segment whose words follow one another evenly."""
    count = len(text.split())
    timed = [(start_ms + at * word_ms, start_ms + (at + 1) * word_ms) for at in range(count)]
    return said(text, start_ms, start_ms + count * word_ms, timed=timed)


times = st.integers(-2_000, 40_000) | st.sampled_from([0, 10**15, -(10**15)])
"""Mostly of half a minute, sometimes of nothing that there is."""


@st.composite
def bad_segments(draw: st.DrawFn) -> list[Segment]:
    """Words that overlap, have no length, run backwards or are not those of the text; any characters."""
    texts = st.lists(st.sampled_from(WORDS) | st.text(min_size=1, max_size=60), max_size=30)
    found = []
    for words in draw(st.lists(texts, max_size=5)):
        timed = [Word(start_ms=draw(times), end_ms=draw(times), text=word) for word in words]
        text = draw(st.sampled_from([" ".join(words), " ".join(words).replace(" ", "  ") + "!"]))
        found.append(
            Segment(start_ms=draw(times), end_ms=draw(times), text=text, words=draw(st.none() | st.just(timed)))
        )
    return found


@st.composite
def good_segments(draw: st.DrawFn) -> list[Segment]:
    """Ordinary speech: words of 150 to 700 ms in order, with pauses of up to four seconds."""
    found, at = [], 0
    for count in draw(st.lists(st.integers(1, 25), min_size=1, max_size=6)):
        words = []
        for _ in range(count):
            at += draw(st.sampled_from([0, 0, 0, 0, 60, 400, 4000]))
            length = draw(st.integers(150, 700))
            words.append(Word(start_ms=at, end_ms=at + length, text=draw(st.sampled_from(WORDS))))
            at += length
        text = " ".join(word.text for word in words)
        found.append(Segment(start_ms=words[0].start_ms, end_ms=at, text=text, words=words))
    return found
