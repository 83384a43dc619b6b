from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.events import Segment, Word
from services.embed_agent.domain import Chunk
from services.embed_agent.transcripts import LONGEST_MS, MOST_OVERLAP, MOST_SENTENCES, transcript_chunks, words_of


def count(text: str) -> int:
    return len(text.split())


def speech(words: list[tuple[int, int, bool]]) -> Segment:
    """A segment from (pause before, length, sentence ends) of each word; the words are numbered."""
    at, spoken = 0, []
    for number, (pause, length, ends) in enumerate(words):
        start = at + pause
        at = start + length
        spoken.append(Word(start_ms=start, end_ms=at, text=f"w{number}" + "." * ends))
    return Segment(start_ms=0, end_ms=at, text=" ".join(word.text for word in spoken), words=spoken)


WORDS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 400), st.integers(0, 90_000)),
        st.one_of(st.integers(1, 2_000), st.integers(1, 70_000)),
        st.booleans(),
    ),
    min_size=1,
    max_size=120,
)


def steady(seed: int) -> list[tuple[int, int, bool]]:
    """Some minutes of speech without long pauses, in sentences of 4 to 12 words."""
    chance = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
    sentences = (chance.randint(4, 12) for _ in range(60))
    return [
        (chance.randint(0, 200), chance.randint(100, 700), word == length)
        for length in sentences
        for word in range(1, length + 1)
    ]


def numbers(chunk: Chunk) -> list[int]:
    return [int(word.strip("w.")) for word in chunk.text.split()]


@given(WORDS)
def test_no_word_is_lost_and_order_is_kept(words: list[tuple[int, int, bool]]) -> None:
    chunks = transcript_chunks([speech(words)], count)
    said = [numbers(chunk) for chunk in chunks]
    assert all(run == list(range(run[0], run[-1] + 1)) for run in said)
    assert said[0][0] == 0
    assert said[-1][-1] == len(words) - 1
    for before, after in itertools.pairwise(said):
        assert before[0] < after[0] <= before[-1] + 1, "each chunk starts where the one before ends, or overlaps it"
        assert after[-1] > before[-1], "each chunk says something new"


@given(WORDS)
def test_no_chunk_is_longer_than_a_minute_unless_one_word_is(words: list[tuple[int, int, bool]]) -> None:
    for chunk in transcript_chunks([speech(words)], count):
        assert chunk.start_ms is not None
        assert chunk.end_ms is not None
        assert chunk.end_ms - chunk.start_ms <= LONGEST_MS or len(numbers(chunk)) == 1


@given(WORDS)
def test_times_and_tokens_are_those_of_the_words(words: list[tuple[int, int, bool]]) -> None:
    segment = speech(words)
    assert segment.words is not None
    for chunk in transcript_chunks([segment], count):
        said = numbers(chunk)
        assert chunk.start_ms == segment.words[said[0]].start_ms
        assert chunk.end_ms == segment.words[said[-1]].end_ms
        assert chunk.tokens == len(said)


@given(st.integers(0, 2**32).map(steady))
def test_steady_speech_gives_chunks_of_30_to_60_s_that_overlap_by_about_a_tenth(
    words: list[tuple[int, int, bool]],
) -> None:
    segment = speech(words)
    assert segment.words is not None
    chunks = transcript_chunks([segment], count)
    for before, after in itertools.pairwise(chunks):
        assert before.start_ms is not None
        assert before.end_ms is not None
        assert after.start_ms is not None
        length = before.end_ms - before.start_ms
        overlap = before.end_ms - after.start_ms
        assert overlap <= MOST_OVERLAP * length
        new = before.text.count(".")
        assert length >= 30_000 or new >= MOST_SENTENCES
        longest_word = 900
        assert overlap >= 0.10 * length - longest_word
    ends_inside = [chunk for chunk in chunks[:-1] if not chunk.text.endswith(".")]
    assert not ends_inside, "a sentence of steady speech is never cut"


def test_words_without_times_are_spread_over_their_segment() -> None:
    segment = Segment(start_ms=1000, end_ms=2000, text=" ab  cdef gh ij")
    assert [(w.text, w.start_ms, w.end_ms) for w in words_of(segment)] == [
        ("ab", 1000, 1200),
        ("cdef", 1200, 1600),
        ("gh", 1600, 1800),
        ("ij", 1800, 2000),
    ]


def test_nothing_said_gives_no_chunks() -> None:
    assert transcript_chunks([], count) == []
    assert transcript_chunks([Segment(start_ms=0, end_ms=10, text="  ")], count) == []


def test_words_lose_their_blanks_and_nothing_else() -> None:
    words = [Word(start_ms=0, end_ms=5, text=" Ask\n"), Word(start_ms=5, end_ms=9, text="&amp; #not.")]
    segment = Segment(start_ms=0, end_ms=9, text="Ask &amp; #not.", words=words)
    assert [chunk.text for chunk in transcript_chunks([segment], count)] == ["Ask &amp; #not."]
