"""Chooses the adapters that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from millrace.clock import SystemClock
from millrace.store.media import MediaShelf
from millrace.stream.connect import Resources
from services.media_agent.adapters.http import HttpFetcher
from services.media_agent.adapters.probe import AvProber
from services.media_agent.handler import MediaHandler
from services.media_agent.settings import MediaSettings


@asynccontextmanager
async def build_handler(settings: MediaSettings, resources: Resources) -> AsyncIterator[MediaHandler]:
    """The stage's handler."""
    yield MediaHandler(
        blobs=resources.blobs,
        shelf=MediaShelf(resources.database, resources.blobs, SystemClock(), settings.media_kept),
        kept_for=settings.media_kept,
        fetcher=HttpFetcher(
            allow=settings.allowed_hosts,
            max_bytes=settings.fetch_max_bytes,
            timeout_s=settings.fetch_timeout_s,
            idle_s=settings.fetch_idle_s,
        ),
        prober=AvProber(timeout_s=settings.probe_timeout_s),
        allow=settings.allowed_hosts,
        longest=timedelta(seconds=settings.max_media_s),
        transcribe_price_per_second=settings.transcribe_price_per_second,
    )
