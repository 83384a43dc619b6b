"""faster-whisper and its voice detector, in child processes: `whisper_child.py` has what they do there."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, JsonValue

from millrace.contracts.events import Segment
from millrace.models.child.pool import ChildPool
from millrace.models.child.process import Recipe
from millrace.models.port import Tariff, Use
from millrace.models.tariffs import PerSecond
from services.transcribe_agent.domain import Audio, Backend, Heard, Span
from services.transcribe_agent.ports import Listened, Progress

_CHILD = "services.transcribe_agent.adapters.whisper_child"


class Sound(BaseModel):
    """What a child is asked about; the samples go with it, as in `Audio.pcm`."""


class Ended(BaseModel):
    """The last that is told of a recording; a `Segment` was told as each was heard."""

    language: str | None
    seconds: float


class Spoken(BaseModel):
    """Start and end of where somebody speaks, in milliseconds."""

    spans: list[tuple[int, int]]


def whisper_recipe(*, model: str, device: str, compute_type: str, threads: int) -> Recipe:
    """A child that listens."""
    settings: Mapping[str, JsonValue] = {
        "model": model,
        "device": device,
        "compute_type": compute_type,
        "threads": threads,
    }
    return Recipe(Path(model).name, f"{_CHILD}:load_whisper", settings)


def silero_recipe(*, pause_ms: int) -> Recipe:
    """A child that finds speech; pauses longer than this are left out."""
    return Recipe("silero", f"{_CHILD}:load_silero", {"pause_ms": pause_ms})


class SileroDetector:
    """Finds speech with the Silero voice detector that comes with faster-whisper; implements `SpeechDetector`."""

    def __init__(self, children: ChildPool) -> None:
        self._children = children

    async def spans(self, audio: Audio) -> list[Span]:
        """Ask a child: about 3 ms a second of sound."""
        if not audio.pcm:
            return []
        spoken, _ = await self._children.ask(Sound(), Spoken, body=audio.pcm)
        return [Span(start, end) for start, end in spoken.spans]


class WhisperTranscriber:
    """Listens to one recording in each child: a model uses all the threads that it was given.

    Implements `Transcriber`.

    :param model: the name or folder from the settings.
    :param price_per_second: US dollars a second of its work; the time that a recording waits for a child is free.
    """

    backend: Backend = "local"

    def __init__(self, children: ChildPool, model: str, price_per_second: Decimal = Decimal(0)) -> None:
        self._children = children
        self.model = Path(model).name  # without the path to it
        self.tariff: Tariff = PerSecond(price_per_second)

    async def transcribe(self, speech: Audio, progress: Progress) -> Listened:
        """Ask a child, and tell the progress after each segment."""
        segments: list[Segment] = []

        async def told(document: bytes) -> None:
            segment = Segment.model_validate_json(document)
            segments.append(segment)
            await progress(min(1.0, segment.end_ms / max(1, speech.duration_ms)))

        ended, _ = await self._children.ask(Sound(), Ended, body=speech.pcm, told=told)
        return Listened(Heard(language=ended.language, segments=segments), Use(seconds=ended.seconds))
