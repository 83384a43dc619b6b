from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from pydantic import BaseModel

from millrace.contracts.events import Segment
from millrace.errors import Retryable
from services.transcribe_agent.adapters.whisper import Ended
from services.transcribe_agent.adapters.whisper_child import listening

PCM = b"\0\0" * 16_000 * 10


@dataclass
class FoundSegment:
    start: float
    end: float
    text: str
    words: None = None


@dataclass
class Info:
    language: str = "en"


@dataclass
class FakeModel:
    """What faster-whisper's model does: hands out segments as they are heard."""

    hear: Callable[[], Iterator[FoundSegment]]

    def transcribe(self, audio: object, **options: object) -> tuple[Iterator[FoundSegment], Info]:
        return self.hear(), Info()


def heard(hear: Callable[[], Iterator[FoundSegment]], told: list[BaseModel]) -> Ended:
    ended, _ = listening(FakeModel(hear), "fake")(b"{}", PCM, told.append)
    assert isinstance(ended, Ended)
    return ended


def two_segments() -> Iterator[FoundSegment]:
    yield FoundSegment(0.0, 5.0, " one ")
    yield FoundSegment(5.0, 5.1, "  ")
    yield FoundSegment(5.1, 10.2, " two ")


def test_segments_are_told_as_they_are_heard_and_empty_ones_are_left_out() -> None:
    told: list[BaseModel] = []

    def hear() -> Iterator[FoundSegment]:
        for number, segment in enumerate(two_segments()):
            assert len(told) == min(number, 1)
            yield segment

    assert heard(hear, told).language == "en"
    assert told == [
        Segment(start_ms=0, end_ms=5000, text="one", words=[]),
        Segment(start_ms=5100, end_ms=10_200, text="two", words=[]),
    ]


def test_the_seconds_are_those_of_the_work() -> None:
    def a_twentieth_of_a_second() -> Iterator[FoundSegment]:
        time.sleep(0.05)
        yield FoundSegment(0.0, 1.0, "one")

    started = time.perf_counter()
    ended = heard(a_twentieth_of_a_second, [])
    assert 0.05 <= ended.seconds <= time.perf_counter() - started


def test_a_model_that_fails_in_the_middle_is_tried_again_later() -> None:
    def out_of_memory() -> Iterator[FoundSegment]:
        yield FoundSegment(0.0, 1.0, "one")
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(Retryable, match="out of memory"):
        heard(out_of_memory, [])
