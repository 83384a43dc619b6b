from __future__ import annotations

import itertools
from functools import cache
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts.events import Segment
from millrace.models.child.pool import ChildPool
from millrace.models.wordllama import WordLlamaChildren
from millrace.sentences import split_sentences
from services.embed_agent.cutting import CHUNKERS, Material, cut
from services.embed_agent.domain import Chunk, Chunker, CountTokens
from services.embed_agent.fixed import OVERLAP, WINDOW_TOKENS, fixed_chunks
from services.embed_agent.paragraphs import MOST_TOKENS as PARAGRAPH_TOKENS
from services.embed_agent.sentences import MOST_TOKENS as SENTENCE_TOKENS
from services.embed_agent.sentences import sentence_chunks
from services.embed_agent.sizes import ANY, MOST_CHUNKS, windows
from services.embed_agent.transcripts import transcript_chunks
from services.embed_agent.words import cut_word
from tests.unit.embed_agent.chunk_checks import FAMILY, TEXTS, check, count, letters, split

ROOT = Path(__file__).parents[3]
ARTICLE = (ROOT / "millrace/testing/media/what-a-millrace-is.txt").read_text()
MARKDOWN = "\n\n".join((ROOT / name).read_text() for name in ("README.md", "docs/transcription.md"))
TEXT_CHUNKERS: list[Chunker] = ["none", "paragraph", "sentence", "fixed"]
USUAL: dict[Chunker, int] = {"paragraph": PARAGRAPH_TOKENS, "sentence": SENTENCE_TOKENS, "fixed": WINDOW_TOKENS}


@cache
def tokenizer() -> CountTokens:
    """The real one, of the model that comes along."""
    return WordLlamaChildren(mock.create_autospec(ChildPool)).count_tokens


def chunks_of(chunker: Chunker, text: str, longest: int = ANY, counted: CountTokens = count) -> list[Chunk]:
    return cut(chunker, Material(text, counted, split, longest))[1]


@pytest.mark.parametrize("chunker", TEXT_CHUNKERS)
@given(text=TEXTS)
def test_all_words_come_in_order_in_chunks_that_say_something_new(chunker: Chunker, text: str) -> None:
    chunks = chunks_of(chunker, text)
    check(text, chunks, ANY)
    assert 1 <= len(chunks) <= MOST_CHUNKS
    assert all(chunk.tokens == count(chunk.text) for chunk in chunks)


@pytest.mark.parametrize("chunker", TEXT_CHUNKERS)
@given(text=st.text(max_size=2000))
def test_so_it_is_for_whatever_somebody_writes(chunker: Chunker, text: str) -> None:
    chunks = chunks_of(chunker, text)
    check(text, chunks, ANY)
    assert bool(chunks) == bool(text.strip())


@pytest.mark.parametrize("chunker", TEXT_CHUNKERS)
@given(text=TEXTS, longest=st.integers(50, 700))
def test_no_chunk_has_more_tokens_than_the_model_takes(chunker: Chunker, text: str, longest: int) -> None:
    check(text, chunks_of(chunker, text, longest), longest)


@pytest.mark.parametrize("chunker", TEXT_CHUNKERS)
@settings(max_examples=25)
@given(text=TEXTS, longest=st.integers(100, 700))
def test_nor_as_a_real_tokenizer_counts(chunker: Chunker, text: str, longest: int) -> None:
    check(text, chunks_of(chunker, text, longest, tokenizer()), longest)


@pytest.mark.parametrize("chunker", ["paragraph", "sentence", "fixed"])
@pytest.mark.parametrize("text", [ARTICLE, MARKDOWN], ids=["article", "markdown"])
def test_real_texts_are_cut_to_the_usual_sizes(chunker: Chunker, text: str) -> None:
    _, chunks = cut(chunker, Material(text, tokenizer(), split_sentences, ANY))
    check(text, chunks, USUAL[chunker])
    full = [chunk.tokens for chunk in chunks[:-1]]
    assert sum(full) >= 0.5 * USUAL[chunker] * len(full), "chunks are well filled"


def test_headers_of_a_real_page_are_in_the_chunk_of_what_they_head() -> None:
    chunks = cut("paragraph", Material(MARKDOWN, tokenizer(), split_sentences, ANY))[1]
    assert len(chunks) > 3
    for chunk in chunks[:-1]:
        assert not chunk.text.splitlines()[-1].startswith("#")


@pytest.mark.parametrize("chunker", TEXT_CHUNKERS)
def test_nine_words_are_one_chunk(chunker: Chunker) -> None:
    text = "The gate has marks, and the miller looks first."
    assert [chunk.text for chunk in chunks_of(chunker, text)] == [text]


@pytest.mark.parametrize("chunker", TEXT_CHUNKERS)
@pytest.mark.parametrize("text", ["", " \n\n\u3000\n"], ids=["empty", "blank"])
def test_nothing_is_no_chunk(chunker: Chunker, text: str) -> None:
    assert chunks_of(chunker, text) == []


@pytest.mark.parametrize("chunker", ["paragraph", "sentence", "fixed"])
@pytest.mark.parametrize(
    "unit", ["The wheel turns and turns. ", "A paragraph.\n\n", "水车在转。", "水", "x", FAMILY, "شلال الماء. "]
)
def test_two_megabytes_are_thirty_chunks_and_read_a_few_times(chunker: Chunker, unit: str) -> None:
    text = unit * (2_000_000 // len(unit.encode()))
    read = 0

    def counted(part: str) -> int:
        nonlocal read
        read += len(part)
        return len(part) // 4 + 1

    chunks = chunks_of(chunker, text, counted=counted)
    assert 10 < len(chunks) <= MOST_CHUNKS
    assert read < 50 * len(text), "linear, if not fast"
    assert sum(len(letters(chunk.text)) for chunk in chunks) >= len(letters(text))


@given(st.integers(1, 3000), st.integers(40, 600))
def test_windows_overlap_by_up_to_a_tenth_and_never_by_less_than_a_twentieth(words: int, size: int) -> None:
    text = " ".join(f"w{number}" for number in range(words))
    said = [
        [int(word[1:]) for word in one.split()] for one in windows(text, count, size, overlap=int(size * OVERLAP))
    ]
    assert said[0][0] == 0
    assert said[-1][-1] == words - 1
    for before, after in itertools.pairwise(said):
        assert len(before) == size
        assert size // 20 <= before[-1] - after[0] + 1 <= size * OVERLAP


def test_a_window_is_smaller_where_words_have_more_tokens_together() -> None:
    def together(text: str) -> int:
        return 2 * len(text.split()) - 1

    text = " ".join(map(str, range(1000)))
    found = list(windows(text, together, 100, overlap=10))
    assert all(90 < together(window) <= 100 for window in found[:-1])


@pytest.mark.parametrize("size", [50, 100, 300])
def test_an_emoji_is_never_cut(size: int) -> None:
    text = FAMILY * 200
    for window in windows(text, count, size, overlap=size // 10):
        assert window == FAMILY * (len(window) // len(FAMILY))
    assert list(cut_word("e\u0301" * 40, len, 3)) == ["e\u0301"] * 40


def test_a_sentence_has_its_neighbours_with_it() -> None:
    sentences = [f"Sentence {number} is here." for number in range(200)]
    chunks = sentence_chunks(" ".join(sentences), count, split)
    said = [[int(word) for word in chunk.text.split() if word.isdigit()] for chunk in chunks]
    for before, after in itertools.pairwise(said):
        assert before[-2:] == after[:2], "the last own sentence of one, and the first of the other"
    assert max(chunk.tokens for chunk in chunks) <= SENTENCE_TOKENS


@pytest.mark.parametrize("words", [180, 198], ids=["both-fit", "short-one-alone"])
def test_a_long_neighbour_is_left_out(words: int) -> None:
    short, long = "A short one.", "word " * words + "end."
    chunks = sentence_chunks(f"{long} {short} {long}", count, split)
    assert [chunk.text for chunk in chunks] == [f"{long} {short}", f"{short} {long}"]


def test_a_text_that_is_too_long_for_one_chunk_is_cut_into_windows() -> None:
    text = "word " * 900
    used, chunks = cut("none", Material(text, count, split, 1000))
    assert (used, [chunk.tokens for chunk in chunks]) == ("none", [900])
    used, chunks = cut("none", Material(text, count, split, 899))
    assert (used, chunks) == ("fixed", fixed_chunks(text, count, 899))


def test_the_table_has_every_chunker_and_that_of_transcripts_keeps_times() -> None:
    segments = [
        Segment(start_ms=n * 5000, end_ms=n * 5000 + 4900, text=f"Ask not {n}, ask what you can do.")
        for n in range(40)
    ]
    material = Material("ignored", tokenizer(), split, 8191, segments)
    assert set(CHUNKERS) == {"transcript", *TEXT_CHUNKERS}
    used, chunks = cut("transcript", material)
    assert (used, chunks) == ("transcript", transcript_chunks(segments, tokenizer()))
    check(" ".join(segment.text for segment in segments), chunks, 8191)
    times = [(chunk.start_ms, chunk.end_ms) for chunk in chunks]
    assert times == sorted(times)
    assert times[0][0] == 0
    assert times[-1][1] == 199_900


def test_what_was_said_in_one_word_is_cut_to_what_the_model_takes() -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 900)))
    material = Material(text, count, split, 300, [Segment(start_ms=5, end_ms=90_000, text=text)])
    used, chunks = cut("transcript", material)
    check(text, chunks, 300)
    assert len(chunks) > 1
    assert {(used, chunk.start_ms, chunk.end_ms) for chunk in chunks} == {("transcript", 5, 90_000)}
