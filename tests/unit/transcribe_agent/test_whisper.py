from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from millrace.errors import Retryable
from services.transcribe_agent.adapters.whisper import WhisperTranscriber
from services.transcribe_agent.domain import Audio, Heard

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


async def no_progress(fraction: float) -> None:
    pass


async def test_segments_come_with_progress_and_empty_ones_are_left_out() -> None:
    told: list[float] = []

    async def progress(fraction: float) -> None:
        told.append(fraction)

    heard = await WhisperTranscriber(FakeModel(two_segments), "fake").transcribe(SPEECH, progress)
    assert heard.text == "one two"
    assert told == [0.5, 1.0]


async def test_a_cancelled_recording_frees_the_model_for_the_next() -> None:
    def without_end() -> Iterator[FoundSegment]:
        while True:
            time.sleep(0.001)
            yield FoundSegment(0.0, 1.0, "on and on")

    heard_something = asyncio.Event()

    async def progress(fraction: float) -> None:
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
    heard: Heard = await asyncio.wait_for(transcriber.transcribe(SPEECH, no_progress), 10)
    assert heard.text == "one two"
    assert model.asked == 2, "the recording that was waiting was never begun"


async def test_a_model_that_fails_in_the_middle_is_tried_again_later() -> None:
    def out_of_memory() -> Iterator[FoundSegment]:
        yield FoundSegment(0.0, 1.0, "one")
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(Retryable, match="out of memory"):
        await WhisperTranscriber(FakeModel(out_of_memory), "fake").transcribe(SPEECH, no_progress)
