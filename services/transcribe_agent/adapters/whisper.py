"""faster-whisper and its voice detector, in child processes: `whisper_child.py` has what they do there."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

from pydantic import JsonValue

from millrace.models.child.pool import ChildPool
from millrace.models.child.process import Recipe
from millrace.models.port import Backend, Tariff, Use
from millrace.models.tariffs import PerSecond
from services.transcribe_agent.adapters.asked import Asked, Spoken, Transcribed
from services.transcribe_agent.chunks import Chunk, batches, cut
from services.transcribe_agent.domain import Audio, Heard, Span
from services.transcribe_agent.languages import code_of
from services.transcribe_agent.ports import Listened, Sound
from services.transcribe_agent.speech import Speech, within

_CHILD = "services.transcribe_agent.adapters.whisper_child"
# The model's window is 30 s. The least leaves room to find a pause; on ten recordings of 2 to 10 minutes, cuts from
# 15, 20 or 25 s on differed by less than 0.2 points of word errors.
_LEAST_CLIP_MS, _MOST_CLIP_MS = 20_000, 29_000


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
        spoken, _ = await self._children.ask(Asked(gain_db=audio.gain_db), Spoken, body=audio.pcm)
        return [Span(start, end) for start, end in spoken.spans]


class WhisperTranscriber:
    """Listens to one recording in each child: a model uses all the threads that it was given.

    Implements `Transcriber`.

    :param model: the name or folder from the settings.
    :param batch: clips that the model listens to at once; they are one call.
    :param price_per_second: US dollars a second of its work; the time that a recording waits for a child is free.
    """

    backend: Backend = "local"

    def __init__(
        self, children: ChildPool, model: str, *, batch: int, price_per_second: Decimal = Decimal(0)
    ) -> None:
        self._children = children
        self._batch = batch
        self.model = Path(model).name  # without the path to it
        self.tariff: Tariff = PerSecond(price_per_second)

    def chunks(self, speech: Speech) -> list[Chunk]:
        """Batches of clips that fill the model's window, and that share no sound: each is heard on its own."""
        return batches(cut(speech, least_ms=_LEAST_CLIP_MS, most_ms=_MOST_CLIP_MS), size=self._batch)

    async def ready(self, sound: Sound) -> Sound:
        """It listens to samples."""
        return sound

    async def transcribe(self, sound: Sound, *, within_s: float | None = None) -> Listened:
        """Ask a child."""
        asked = Asked(
            gain_db=sound.audio.gain_db,
            clips=[(clip.start_ms, clip.end_ms) for clip in sound.clips],
            language=sound.language,
        )
        found, _ = await self._children.ask(asked, Transcribed, body=sound.audio.pcm, within_s=within_s)
        segments = within(found.segments, sound.audio.duration_ms)
        return Listened(Heard(language=code_of(found.language), segments=segments), Use(seconds=found.seconds))
