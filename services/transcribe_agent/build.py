"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from millrace.stream.app import Resources
from services.transcribe_agent.adapters.ffmpeg import FfmpegDecoder
from services.transcribe_agent.adapters.whisper import SileroDetector, load_whisper
from services.transcribe_agent.handler import TranscribeHandler
from services.transcribe_agent.settings import TranscribeSettings


@asynccontextmanager
async def build_handler(settings: TranscribeSettings, resources: Resources) -> AsyncIterator[TranscribeHandler]:
    """The stage's handler, with its model loaded.

    :raises ConfigurationError: the model cannot be loaded.
    """
    transcriber = await asyncio.to_thread(
        load_whisper,
        model=settings.whisper_model,
        device=settings.whisper_device,
        compute_type=settings.whisper_compute_type,
        threads=settings.whisper_threads,
        price_per_second=settings.transcribe_price_per_second,
    )
    try:
        yield TranscribeHandler(
            blobs=resources.blobs,
            decoder=FfmpegDecoder(max_media_s=settings.max_media_s, timeout_s=settings.decode_timeout_s),
            detector=SileroDetector(pause_ms=settings.pause_ms),
            transcriber=transcriber,
            silent_db=settings.silent_db,
            pause_ms=settings.pause_ms,
        )
    finally:
        transcriber.close()
