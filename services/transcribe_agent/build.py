"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from millrace.models.child.pool import open_children
from millrace.stream.connect import Resources
from services.transcribe_agent.adapters.ffmpeg import FfmpegDecoder
from services.transcribe_agent.adapters.whisper import (
    SileroDetector,
    WhisperTranscriber,
    silero_recipe,
    whisper_recipe,
)
from services.transcribe_agent.handler import TranscribeHandler
from services.transcribe_agent.settings import TranscribeSettings


@asynccontextmanager
async def build_handler(settings: TranscribeSettings, resources: Resources) -> AsyncIterator[TranscribeHandler]:
    """The stage's handler, with its models loaded.

    :raises ConfigurationError: a model cannot be loaded.
    """
    whisper = whisper_recipe(
        model=settings.whisper_model,
        device=settings.whisper_device,
        compute_type=settings.whisper_compute_type,
        threads=settings.whisper_threads,
    )
    silero = silero_recipe(pause_ms=settings.pause_ms)
    async with open_children(whisper, settings.care) as listeners, open_children(silero, settings.care) as detectors:
        yield TranscribeHandler(
            blobs=resources.blobs,
            decoder=FfmpegDecoder(max_media_s=settings.max_media_s, timeout_s=settings.decode_timeout_s),
            detector=SileroDetector(detectors),
            transcriber=WhisperTranscriber(listeners, settings.whisper_model, settings.transcribe_price_per_second),
            silent_db=settings.silent_db,
            pause_ms=settings.pause_ms,
        )
