"""What transcribing needs from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millrace.contracts.events import Segment
from millrace.models.port import Tariff, Use
from services.transcribe_agent.domain import Audio, Backend, Heard, Span

Progress = Callable[[Sequence[Segment]], Awaitable[None]]
"""Told the segments that were heard so far, after each."""


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

    async def transcribe(self, speech: Audio, progress: Progress) -> Listened:
        """What is said; times in milliseconds of `speech`.

        :raises Retryable: the model could not be asked, nothing was paid.
        :raises UnknownOutcome: an API was asked and its answer is not known.
        """
        ...
