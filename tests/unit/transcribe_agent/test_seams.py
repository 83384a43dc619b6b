from __future__ import annotations

import random

import pytest

from millrace.contracts.events import Segment, Word
from services.transcribe_agent.chunks import Chunk
from services.transcribe_agent.domain import Span
from services.transcribe_agent.seams import joined

LEFT = Chunk(Span(0, 10_000), Span(0, 12_000))
RIGHT = Chunk(Span(10_000, 20_000), Span(8000, 20_000))
SAID = tuple("we choose to go to the moon in this decade and do the other things because they are hard".split())  # noqa: SIM905 - prose


def word(text: str, start_ms: int, length_ms: int = 300) -> Word:
    return Word(start_ms=start_ms, end_ms=start_ms + length_ms, text=text)


def segment(*words: Word, timed: bool = True) -> Segment:
    text = " ".join(one.text for one in words)
    return Segment(
        start_ms=words[0].start_ms, end_ms=words[-1].end_ms, text=text, words=list(words) if timed else None
    )


def texts(segments: list[Segment]) -> str:
    return " ".join(one.text for one in segments)


def spoken(first_ms: int, last_ms: int, shift_ms: int = 0, *, gap_ms: int = 500) -> list[Word]:
    """The words between two moments, at steady times, as a model tells them that is late by so much."""
    said = (word(f"{SAID[n % len(SAID)]}{n}", n * gap_ms) for n in range(40))
    heard = (one for one in said if first_ms <= (one.start_ms + one.end_ms) // 2 < last_ms)
    return [word(one.text, one.start_ms + shift_ms) for one in heard]


@pytest.mark.parametrize("shift_ms", [-400, -150, 0, 150, 400])
@pytest.mark.parametrize("timed", [True, False], ids=["with words", "segments only"])
def test_no_word_is_lost_or_doubled_however_the_models_time_them(shift_ms: int, timed: bool) -> None:
    left, right = spoken(0, 12_000), spoken(8000, 20_000, shift_ms)
    found = joined([LEFT, RIGHT], [[segment(*left, timed=timed)], [segment(*right, timed=timed)]])
    assert texts(found).split() == [one.text for one in spoken(0, 20_000)]


def test_words_cut_off_at_the_ends_of_the_sound_are_not_kept() -> None:
    left = [*spoken(0, 11_700), word("thi", 11_800)]
    right = [word("ngs", 8000), *spoken(8400, 20_000)]
    found = joined([LEFT, RIGHT], [[segment(*left)], [segment(*right)]])
    assert texts(found).split() == [one.text for one in spoken(0, 20_000)]


def test_a_word_said_again_and_again_is_counted_right() -> None:
    said = [word("no", at) for at in range(0, 20_000, 400)]
    left = [one for one in said if one.end_ms <= 12_000]
    right = [word("No,", one.start_ms + 90) for one in said if one.start_ms >= 8000]
    found = joined([LEFT, RIGHT], [[segment(*left)], [segment(*right)]])
    assert len(texts(found).split()) == len(said)


def test_without_a_word_in_common_each_chunk_speaks_for_its_own_side() -> None:
    left = [word("alpha", 9000), word("beta", 9800), word("gamma", 10_400)]
    right = [word("delta", 9500), word("epsilon", 10_100)]
    assert texts(joined([LEFT, RIGHT], [[segment(*left)], [segment(*right)]])) == "alpha beta epsilon"


def test_of_a_word_that_is_said_twice_the_one_with_the_same_neighbours_is_meant() -> None:
    said = ["the", "cat", "the", "dog", "sat"]
    left = [word(text, 9000 + 400 * n) for n, text in enumerate(said)]
    right = [word(text, 9700 + 400 * n) for n, text in enumerate(said)]
    found = texts(joined([LEFT, RIGHT], [[segment(*left)], [segment(*right)]]))
    assert found == "the cat the dog sat"


def test_one_word_that_happens_to_be_heard_twice_does_not_move_the_cut() -> None:
    left = [word(t, at) for t, at in [("we", 8000), ("over", 8400), ("the", 8700), ("hell", 9100), ("in", 9600)]]
    right = [word(t, at) for t, at in [("hill", 9100), ("and", 9600), ("the", 10_100), ("mill", 10_500)]]
    found = texts(joined([LEFT, RIGHT], [[segment(*left)], [segment(*right)]]))
    assert found == "we over the hell in the mill"


def test_text_alone_is_joined_also_where_the_speaker_slows_down() -> None:
    """The times of words are guessed there, and seconds wrong."""
    said = [f"word{n}" for n in range(60)]
    left = Segment(start_ms=0, end_ms=12_000, text=" ".join(said[:34]))
    right = Segment(start_ms=8000, end_ms=20_000, text=" ".join(said[28:]))
    assert texts(joined([LEFT, RIGHT], [[left], [right]])).split() == said


@pytest.mark.parametrize(("one", "other"), [("की", "का"), ("กิน", "กัน"), ("cafe", "cafés")])
def test_marks_make_another_word(one: str, other: str) -> None:
    left, right = [word(one, 9000), word("x", 9700)], [word(other, 9100), word("y", 10_400)]
    assert texts(joined([LEFT, RIGHT], [[segment(*left)], [segment(*right)]])) == f"{one} x y"


def test_a_segment_that_is_cut_keeps_its_punctuation_and_its_times() -> None:
    left = [word("ask", 9000), word("not", 9400), word("what", 10_300)]
    right = [word("not", 9420), word("what", 10_320), word("your", 10_700)]
    parts = [
        [Segment(start_ms=9000, end_ms=10_600, text="Ask not, what", words=left)],
        [Segment(start_ms=9420, end_ms=11_000, text="not what: your country", words=right)],
    ]
    before, after = joined([LEFT, RIGHT], parts)
    assert (before.text, before.start_ms, before.end_ms) == ("Ask not,", 9000, 9700)
    assert (after.text, after.start_ms, after.end_ms) == ("what: your country", 10_320, 11_000)
    assert [one.text for one in after.words or ()] == ["what", "your"]


def test_segments_away_from_the_seam_are_left_as_they_are() -> None:
    early, late = segment(word("early", 100)), segment(word("late", 19_000))
    middle = segment(*spoken(8500, 11_500))
    found = joined([LEFT, RIGHT], [[early, middle], [middle, late]])
    assert (found[0], found[-1]) == (early, late)
    assert texts(found[1:-1]) == middle.text


def test_chunks_that_meet_in_a_pause_are_simply_one_after_another() -> None:
    left, right = Chunk(Span(0, 10), Span(0, 10)), Chunk(Span(10, 20), Span(10, 20))
    said = [[segment(word("one", 0, 12))], [segment(word("one", 8, 3))]]
    assert joined([left, right], said) == [said[0][0], said[1][0]]


def test_writing_without_spaces_is_joined_by_its_characters() -> None:
    text = "".join(chr(0x4E00 + n) for n in range(60))
    left = Segment(start_ms=0, end_ms=12_000, text=text[:36])
    right = Segment(start_ms=8000, end_ms=20_000, text=text[24:])
    assert "".join(one.text for one in joined([LEFT, RIGHT], [[left], [right]])) == text


@pytest.mark.parametrize("seed", range(20))
def test_many_seams_with_models_that_time_each_word_a_little_differently(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - of a test
    said = [word(rng.choice(SAID), n * 200 + rng.randint(0, 20), 170) for n in range(600)]
    chunks = [
        Chunk(Span(at, at + 10_000), Span(max(0, at - 2000), at + 12_000)) for at in range(0, said[-1].end_ms, 10_000)
    ]
    heard = []
    for chunk in chunks:
        inside = [one for one in said if chunk.sound.start_ms <= one.start_ms and one.end_ms <= chunk.sound.end_ms]
        jittered = [word(one.text, one.start_ms + rng.randint(-60, 60), 170) for one in inside]
        heard.append([segment(*jittered[at : at + 7]) for at in range(0, len(jittered), 7)])
    assert texts(joined(chunks, heard)).split() == [one.text for one in said]
