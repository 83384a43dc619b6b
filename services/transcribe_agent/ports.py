"""What transcribing needs from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millrace.models.port import Backend, Tariff, Use
from services.transcribe_agent.chunks import Chunk
from services.transcribe_agent.domain import Audio, Heard, Span
from services.transcribe_agent.speech import Speech


@dataclass(frozen=True)
class Sound:
    """What a model listens to. `clips` are those of its `Chunk`, in milliseconds of this sound.

    `language` (ISO 639-1) is that of the rest of the recording; None when it is to be found out. `file` is the sound
    in the form in which an API takes it, once it is ready.
    """

    audio: Audio
    clips: Sequence[Span] = ()
    language: str | None = None
    file: bytes = b""


@dataclass(frozen=True)
class Listened:
    """What was heard, and what hearing it used."""

    heard: Heard
    use: Use


class Decoder(Protocol):
    """Reads the sound of a media file."""

    async def decode(self, path: Path) -> Audio:
        """The first audio stream, mixed to mono.

        :raises Poison: the sound cannot be decoded.
        :raises Retryable: decoding was cut off by this machine.
        """
        ...


class SpeechDetector(Protocol):
    """Tells speech from everything else."""

    async def spans(self, audio: Audio) -> list[Span]:
        """Where somebody speaks: in order, without overlap, pauses left out; empty when nobody does."""
        ...


class Transcriber(Protocol):
    """A speech-to-text model, here or behind an API."""

    @property
    def backend(self) -> Backend:
        """Where the model runs."""
        ...

    @property
    def model(self) -> str:
        """Name of the model: a part of the work key, so another model is other work."""
        ...

    @property
    def tariff(self) -> Tariff:
        """What it costs."""
        ...

    def chunks(self, speech: Speech) -> list[Chunk]:
        """How it wants to listen to long speech; always the same for the same speech."""
        ...

    async def ready(self, sound: Sound) -> Sound:
        """The sound with all that can be done before money is asked for.

        :raises Retryable: this machine has cut it off.
        :raises Unavailable: this machine can do nothing at present.
        """
        ...

    async def transcribe(self, sound: Sound, *, within_s: float | None = None) -> Listened:
        """What is said in a sound that is `ready`; times in milliseconds of it, and within it.

        :param within_s: the longest that a model of this machine may work on it.
        :raises TimeoutError: it has worked longer, and was stopped.
        :raises OutOfMemory: this machine has not the memory for it.
        :raises Retryable: the model could not be asked, nothing was paid.
        :raises Poison: it refuses this sound, nothing was paid.
        :raises UnknownOutcome: an API was asked and its answer is not known.
        """
        ...
