from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from millrace.contracts.events import Segment
from millrace.errors import Retryable
from millrace.models.port import Use
from services.transcribe_agent.adapters.whisper import WhisperTranscriber
from services.transcribe_agent.domain import Audio

SPEECH = Audio(b"\0\0" * 16_000 * 10, -20.0)


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
    """What faster-whisper's model does: hands out segments as they are heard, in the thread that asks."""

    hear: Callable[[], Iterator[FoundSegment]]
    asked: int = field(default=0)

    def transcribe(self, audio: object, **options: object) -> tuple[Iterator[FoundSegment], Info]:
        self.asked += 1
        return self.hear(), Info()


def two_segments() -> Iterator[FoundSegment]:
    yield FoundSegment(0.0, 5.0, " one ")
    yield FoundSegment(5.0, 5.1, "  ")
    yield FoundSegment(5.1, 10.2, " two ")


async def no_progress(segments: Sequence[Segment]) -> None:
    pass


async def test_segments_come_with_progress_and_empty_ones_are_left_out() -> None:
    told: list[int] = []

    async def progress(segments: Sequence[Segment]) -> None:
        told.append(segments[-1].end_ms)

    listened = await WhisperTranscriber(FakeModel(two_segments), "fake").transcribe(SPEECH, progress)
    assert listened.heard.text == "one two"
    assert told == [5000, 10_200]


async def test_a_cancelled_recording_frees_the_model_for_the_next() -> None:
    def without_end() -> Iterator[FoundSegment]:
        while True:
            time.sleep(0.001)
            yield FoundSegment(0.0, 1.0, "on and on")

    heard_something = asyncio.Event()

    async def progress(segments: Sequence[Segment]) -> None:
        heard_something.set()

    model = FakeModel(without_end)
    transcriber = WhisperTranscriber(model, "fake")
    running = asyncio.create_task(transcriber.transcribe(SPEECH, progress))
    waiting = asyncio.create_task(transcriber.transcribe(SPEECH, progress))
    await asyncio.wait_for(heard_something.wait(), 10)
    for task in (waiting, running):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    model.hear = two_segments
    listened = await asyncio.wait_for(transcriber.transcribe(SPEECH, no_progress), 10)
    assert listened.heard.text == "one two"
    assert model.asked == 2, "the recording that was waiting was never begun"


async def test_a_recording_is_charged_for_its_own_work_and_not_for_its_wait() -> None:
    def a_twentieth_of_a_second() -> Iterator[FoundSegment]:
        time.sleep(0.05)
        yield FoundSegment(0.0, 1.0, "one")

    transcriber = WhisperTranscriber(FakeModel(a_twentieth_of_a_second), "fake", Decimal(1))
    started = time.perf_counter()
    calls = [transcriber.transcribe(SPEECH, no_progress) for _ in range(3)]
    seconds = [listened.use.seconds for listened in await asyncio.gather(*calls)]
    assert min(seconds) >= 0.05
    assert sum(seconds) <= time.perf_counter() - started, "one works at a time"
    assert transcriber.tariff.cost(Use(seconds=0.05)) == 50_000


async def test_a_model_that_fails_in_the_middle_is_tried_again_later() -> None:
    def out_of_memory() -> Iterator[FoundSegment]:
        yield FoundSegment(0.0, 1.0, "one")
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(Retryable, match="out of memory"):
        await WhisperTranscriber(FakeModel(out_of_memory), "fake").transcribe(SPEECH, no_progress)
