from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.transcribe_agent.chunks import batches, cut, overlapping_chunks, quietest_ms
from services.transcribe_agent.domain import Audio, Span
from services.transcribe_agent.speech import Pause, Speech

RATE = 16


def sound(ms: int, *quiet: int) -> Audio:
    """Loud sound that is quieter for 60 ms around some moments."""
    samples = np.full(ms * RATE, 8000, dtype="<i2")
    for at in quiet:
        samples[(at - 30) * RATE : (at + 30) * RATE] = 50
    return Audio(samples.tobytes(), -10.0)


def speech(ms: int, *pauses: tuple[int, int], quiet: tuple[int, ...] = ()) -> Speech:
    return Speech(sound(ms, *quiet), tuple(Pause(at, length) for at, length in pauses))


def ends(spans: list[Span]) -> list[int]:
    return [span.end_ms for span in spans]


@given(st.integers(1, 60_000), st.lists(st.integers(1, 60_000), max_size=8), st.integers(500, 9000))
def test_every_millisecond_is_in_one_stretch_and_none_is_too_long(ms: int, pauses: list[int], most: int) -> None:
    found = cut(speech(ms, *((at, 400) for at in sorted(pauses) if at < ms)), least_ms=most * 2 // 3, most_ms=most)
    assert (found[0].start_ms, found[-1].end_ms) == (0, ms)
    assert all(before.end_ms == after.start_ms for before, after in itertools.pairwise(found))
    assert all(0 < span.length_ms <= most for span in found)


def test_a_stretch_ends_at_the_longest_pause_between_its_limits() -> None:
    pauses = ((1000, 9000), (6500, 400), (7000, 900), (9500, 500), (11_000, 9000))
    assert ends(cut(speech(20_000, *pauses), least_ms=6000, most_ms=10_000))[0] == 7000


def test_where_nobody_pauses_it_ends_at_the_quietest_moment() -> None:
    found = cut(speech(15_000, quiet=(3000, 8200, 12_000)), least_ms=6000, most_ms=10_000)
    assert abs(found[0].end_ms - 8200) <= 20


def test_no_stretch_is_left_with_the_last_second_alone() -> None:
    assert ends(cut(speech(10_200, (9900, 5000)), least_ms=3000, most_ms=10_000))[0] <= 5200


def test_the_quietest_moment_of_next_to_nothing_is_its_middle() -> None:
    assert quietest_ms(sound(1000), 400, 440) == 420


def test_short_speech_is_one_chunk() -> None:
    (chunk,) = overlapping_chunks(speech(10_000, (4000, 500)), most_ms=10_000, overlap_ms=500)
    assert (chunk.span, chunk.sound) == (Span(0, 10_000), Span(0, 10_000))


def test_chunks_that_meet_in_a_pause_share_no_sound() -> None:
    chunks = overlapping_chunks(speech(30_000, (8000, 400), (16_500, 600)), most_ms=10_000, overlap_ms=500)
    assert [chunk.sound.end_ms for chunk in chunks[:2]] == [8000, 16_500]
    assert [chunk.sound.start_ms for chunk in chunks[1:3]] == [8000, 16_500]


def test_chunks_that_meet_in_the_middle_of_speech_share_the_words_around() -> None:
    chunks = overlapping_chunks(speech(20_000), most_ms=10_000, overlap_ms=500)
    for left, right in itertools.pairwise(chunks):
        assert left.span.end_ms == right.span.start_ms
        assert (left.sound.end_ms, right.sound.start_ms) == (left.span.end_ms + 500, right.span.start_ms - 500)


@given(st.integers(1, 80_000), st.lists(st.integers(1, 80_000), max_size=6))
def test_no_chunk_is_longer_than_a_call_may_be(ms: int, pauses: list[int]) -> None:
    said = speech(ms, *((at, 400) for at in sorted(set(pauses)) if at < ms))
    chunks = overlapping_chunks(said, most_ms=10_000, overlap_ms=700)
    assert all(chunk.sound.length_ms <= 10_000 for chunk in chunks)
    assert all(chunk.sound.start_ms <= chunk.span.start_ms for chunk in chunks)
    assert all(chunk.span.end_ms <= chunk.sound.end_ms <= ms for chunk in chunks)


@pytest.mark.parametrize(("clips", "sizes"), [(1, [1]), (2, [1, 1]), (5, [1, 4]), (10, [1, 4, 4, 1])])
def test_the_first_batch_is_one_clip_and_shows_how_fast_the_model_is(clips: int, sizes: list[int]) -> None:
    spans = [Span(at * 10, at * 10 + 10) for at in range(clips)]
    chunks = batches(spans, size=4)
    assert [len(chunk.clips) for chunk in chunks] == sizes
    assert [clip for chunk in chunks for clip in chunk.clips] == spans
    assert [(chunk.span, chunk.sound) for chunk in chunks] == [
        (Span(chunk.clips[0].start_ms, chunk.clips[-1].end_ms),) * 2 for chunk in chunks
    ]
