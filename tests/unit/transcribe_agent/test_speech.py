from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts.events import Segment, Word
from services.transcribe_agent.domain import Audio, Span
from services.transcribe_agent.speech import Pause, moved, only_speech, original_ms, restored, within

BYTES_PER_MS = 32


def spans_of(lengths: list[tuple[int, int]]) -> list[Span]:
    """Spans from (pause before, length) pairs."""
    spans, at = [], 0
    for pause, length in lengths:
        spans.append(Span(at + pause, at + pause + length))
        at += pause + length
    return spans


SPANS = st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=1, max_size=8).map(spans_of)


def sound(ms: int, loudest_db: float = -20.0) -> Audio:
    """Sound in which every millisecond can be told from every other."""
    return Audio(b"".join(n.to_bytes(4, "big") * 8 for n in range(ms)), loudest_db)


@given(SPANS)
def test_only_speech_is_kept_and_every_millisecond_of_it_is_found_again(spans: list[Span]) -> None:
    audio = sound(spans[-1].end_ms + 3)
    speech = only_speech(audio, spans)
    assert speech.duration_ms == sum(span.length_ms for span in spans)
    for cut in range(speech.duration_ms):
        at = original_ms(cut, spans, is_end=False)
        cut_sample = speech.audio.pcm[cut * BYTES_PER_MS : (cut + 1) * BYTES_PER_MS]
        assert audio.pcm[at * BYTES_PER_MS : (at + 1) * BYTES_PER_MS] == cut_sample


@given(SPANS, st.integers(-50, 5000), st.booleans())
def test_restored_times_are_always_inside_speech(spans: list[Span], cut: int, is_end: bool) -> None:
    at = original_ms(cut, spans, is_end=is_end)
    assert any(span.start_ms <= at <= span.end_ms for span in spans)


@given(SPANS, st.booleans())
def test_restored_times_never_go_back(spans: list[Span], is_end: bool) -> None:
    total = sum(span.length_ms for span in spans)
    times = [original_ms(cut, spans, is_end=is_end) for cut in range(total + 10)]
    assert all(a <= b for a, b in itertools.pairwise(times))


@given(SPANS, st.lists(st.integers(0, 4500), min_size=2, max_size=2).map(sorted))
def test_no_restored_segment_or_word_ends_before_it_starts(spans: list[Span], times: list[int]) -> None:
    word = Word(start_ms=times[0], end_ms=times[1], text="word")
    segment = Segment(start_ms=times[0], end_ms=times[1], text="word", words=[word])
    (found,) = restored([segment], spans)
    assert found.start_ms <= found.end_ms
    assert found.words is not None
    assert (found.words[0].start_ms, found.words[0].end_ms) == (found.start_ms, found.end_ms)


def test_at_a_seam_an_end_stays_before_the_pause_and_a_start_goes_after_it() -> None:
    spans = [Span(100, 200), Span(900, 1000)]
    assert original_ms(100, spans, is_end=True) == 200
    assert original_ms(100, spans, is_end=False) == 900


def test_a_word_that_reaches_over_a_pause_belongs_to_its_larger_part() -> None:
    spans = [Span(100, 1100), Span(5000, 6000)]
    early, late = Word(start_ms=700, end_ms=1050, text="early"), Word(start_ms=950, end_ms=1300, text="late")
    segment = Segment(start_ms=700, end_ms=1300, text="early late", words=[early, late])
    (found,) = restored([segment], spans)
    assert [(word.start_ms, word.end_ms) for word in found.words or ()] == [(800, 1100), (5000, 5300)]
    assert (found.start_ms, found.end_ms) == (800, 5300)


def test_pauses_are_known_by_their_place_and_length() -> None:
    speech = only_speech(sound(1000), [Span(0, 100), Span(150, 300), Span(900, 1000)])
    assert speech.pauses == (Pause(100, 50), Pause(250, 600))


def test_all_times_of_a_chunk_are_moved() -> None:
    segment = Segment(start_ms=1, end_ms=9, text="a", words=[Word(start_ms=2, end_ms=3, text="a")])
    (found,) = moved([segment], 10)
    assert (found.start_ms, found.end_ms, found.words) == (11, 19, [Word(start_ms=12, end_ms=13, text="a")])


def test_a_segment_lasts_from_its_earliest_word_to_its_latest() -> None:
    words = [Word(start_ms=0, end_ms=18_000, text="uh"), Word(start_ms=1000, end_ms=1300, text="yes")]
    segment = Segment(start_ms=0, end_ms=18_000, text="uh yes", words=words)
    (found,) = restored([segment], [Span(0, 5000), Span(20_000, 40_000)])
    assert found.start_ms <= min(word.start_ms for word in found.words or ())
    assert found.end_ms >= max(word.end_ms for word in found.words or ())
    assert found.start_ms <= found.end_ms


def test_times_beyond_the_sound_are_its_ends() -> None:
    words = [Word(start_ms=-20, end_ms=500, text="a"), Word(start_ms=900, end_ms=30_000, text="b")]
    (found,) = within([Segment(start_ms=-20, end_ms=30_000, text="a b", words=words)], 1000)
    assert (found.start_ms, found.end_ms) == (0, 1000)
    assert [(word.start_ms, word.end_ms) for word in found.words or ()] == [(0, 500), (900, 1000)]
