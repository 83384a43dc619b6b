"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from millrace.models.child.pool import open_children
from millrace.models.choice import Models
from millrace.stream.connect import Resources
from services.transcribe_agent.adapters.ffmpeg import FfmpegDecoder
from services.transcribe_agent.adapters.whisper import (
    SileroDetector,
    WhisperTranscriber,
    silero_recipe,
    whisper_recipe,
)
from services.transcribe_agent.handler import TranscribeHandler
from services.transcribe_agent.listening import StandBy
from services.transcribe_agent.ports import Transcriber
from services.transcribe_agent.settings import TranscribeSettings

MakeTranscriber = Callable[[str], Transcriber]


@asynccontextmanager
async def build_handler(settings: TranscribeSettings, resources: Resources) -> AsyncIterator[TranscribeHandler]:
    """The stage's handler, with its models loaded.

    :raises ConfigurationError: a model cannot be loaded, or nobody knows what the API's model costs.
    """
    by_api = settings.listens_by_api
    settings.say_local(by_api=by_api)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        asks_api = by_api or (settings.has_api and settings.stt_fallback)
        make = await enter(_open_api(settings)) if asks_api else None
        detectors = await enter(open_children(silero_recipe(pause_ms=settings.pause_ms), settings.care))
        local = await _open_whisper(settings, stack)
        stand_by = None
        if make is None:
            transcribers = Models[Transcriber](local.model, local)
        elif by_api:
            api = make(settings.stt_model)
            transcribers = Models[Transcriber](api.model, api, make, beside=(local.model, lambda: local))
        else:
            api = make(settings.stt_model)
            transcribers = Models[Transcriber](local.model, local, make, beside=(api.model, lambda: api))
            stand_by = StandBy(api, settings.stt_least_speed)
        yield TranscribeHandler(
            blobs=resources.blobs,
            decoder=FfmpegDecoder(max_media_s=settings.max_media_s, timeout_s=settings.decode_timeout_s),
            detector=SileroDetector(detectors),
            transcribers=transcribers,
            stand_by=stand_by,
            silent_db=settings.silent_db,
            pause_ms=settings.pause_ms,
        )


async def _open_whisper(settings: TranscribeSettings, stack: AsyncExitStack) -> WhisperTranscriber:
    recipe = whisper_recipe(
        model=settings.whisper_model,
        device=settings.whisper_device,
        compute_type=settings.whisper_compute_type,
        threads=settings.whisper_threads,
    )
    children = await stack.enter_async_context(
        open_children(recipe, settings.care_of_model(by_api=settings.listens_by_api))
    )
    return WhisperTranscriber(
        children,
        settings.whisper_model,
        batch=settings.whisper_batch,
        price_per_second=settings.transcribe_price_per_second,
    )


@asynccontextmanager
async def _open_api(settings: TranscribeSettings) -> AsyncIterator[MakeTranscriber]:
    # 120 MB and three seconds that agents with a local model do without.
    from millrace.models.openai_api import open_client  # noqa: PLC0415 - memory and seconds that only its users pay
    from services.transcribe_agent.adapters.api import ApiTranscriber  # noqa: PLC0415 - memory and seconds that only its users pay

    def make(name: str) -> Transcriber:
        return ApiTranscriber(client, model=name, tariff=settings.speech_tariff(name))

    client = open_client(
        base_url=settings.stt_base_url, key=settings.openai_api_key, timeout_s=settings.stt_timeout_s
    )
    async with client:
        yield make
