"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from millrace.clock import SystemClock
from millrace.fetch.extraction import Limits, compile_extractors
from millrace.fetch.reach import Reach
from millrace.store.blobs.scratch import FETCHING
from millrace.store.extractions import ExtractionStore
from millrace.store.media import MediaShelf
from millrace.stream.connect import Resources
from services.media_agent.adapters.probe import AvProber
from services.media_agent.adapters.sources import SourceFetcher
from services.media_agent.handler import MediaHandler
from services.media_agent.settings import MediaSettings


@asynccontextmanager
async def build_handler(settings: MediaSettings, resources: Resources) -> AsyncIterator[MediaHandler]:
    """The stage's handler."""
    await compile_extractors()
    prober = AvProber(timeout_s=settings.probe_timeout_s)
    longest = timedelta(seconds=settings.max_media_s)
    limits = Limits(
        max_bytes=settings.fetch_max_bytes,
        extract_s=settings.extract_timeout_s,
        download_s=settings.fetch_timeout_s,
        idle_s=settings.fetch_idle_s,
    )
    yield MediaHandler(
        blobs=resources.blobs,
        shelf=MediaShelf(resources.database, resources.blobs, SystemClock(), settings.media_kept),
        scratch=settings.blobs / FETCHING,
        kept_for=settings.media_kept,
        fetcher=SourceFetcher(
            reach=Reach(settings.allowed_hosts),
            limits=limits,
            prober=prober,
            extractions=ExtractionStore(resources.database),
            longest=longest,
        ),
        prober=prober,
        allow=settings.allowed_hosts,
        longest=longest,
        speech=settings.speech_tariff(),
    )
