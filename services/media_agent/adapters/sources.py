"""Media from URLs: files are fetched directly, and what pages and playlists lead to through a sealed child."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from millrace.errors import MillraceError, Retryable, Unavailable
from millrace.fetch.addresses import TargetRefused, target_of
from millrace.fetch.extraction import AddressExpired, Info, Limits, Page, extracting
from millrace.fetch.http import HttpFetcher, NotAFile
from millrace.fetch.proxy import GuardingProxy
from millrace.fetch.reach import Reach
from millrace.store.blobs import fingerprint
from millrace.telemetry.fetching import FETCH_BYTES, FETCH_CACHE, FETCH_REFUSED, FETCH_SECONDS, FETCHES, note_seal
from services.media_agent.adapters.watch import LengthWatch, largest_in
from services.media_agent.domain import Caption, Fetched, caption_of, check_length, is_platform, said_of
from services.media_agent.ports import Extractions, Prober, Progress

_PAGES_BYTES = 64_000_000
"""What pages, playlists and scripts may add to the media itself."""
_FOREVER_S = 1e9
_MOST_BYTES = 1e15
Way = Literal["direct", "ytdlp", "caption"]


@dataclass
class _Tally:
    way: Way = "direct"
    bytes: int = 0


class SourceFetcher:
    """Implements `Fetcher`.

    :param longest: media of a greater length is refused, before it is downloaded where its length is known.
    """

    def __init__(
        self, *, reach: Reach, limits: Limits, prober: Prober, extractions: Extractions, longest: timedelta
    ) -> None:
        self._reach, self._limits, self._longest = reach, limits, longest
        self._prober, self._extractions = prober, extractions
        self._files = HttpFetcher(
            reach, max_bytes=limits.max_bytes, timeout_s=limits.download_s, idle_s=limits.idle_s
        )

    async def fetch(self, url: str, into: Path, progress: Progress) -> Fetched | Caption:
        """See `Fetcher.fetch`."""
        async with _counted() as tally:
            if not is_platform(target_of(url, self._reach.allow, self._reach.ports).host):
                try:
                    return await self._direct(url, into, tally, progress)
                except NotAFile:
                    pass
            tally.way = "ytdlp"
            try:
                async with asyncio.timeout(self._limits.extract_s + self._limits.download_s):
                    return await self._extracted(url, into, tally, progress)
            except TimeoutError:
                raise Retryable("the site of this video does not answer in time") from None

    async def _direct(self, url: str, into: Path, tally: _Tally, progress: Progress) -> Fetched:
        watch = self._watch(lambda: into)

        async def counting(size: int, of: int | None) -> None:
            tally.bytes = size
            await _tell(progress, size, of)
            await watch(size)

        file = await self._files.fetch(url, into, counting)
        return Fetched(file.sha256, file.size_bytes)

    async def _extracted(self, url: str, into: Path, tally: _Tally, progress: Progress) -> Fetched | Caption:
        known = await self._extractions.find(url)
        FETCH_CACHE.labels("no" if known is None else "yes").inc()
        try:
            return await self._through_child(url, into, known, tally, progress)
        except AddressExpired:  # addresses of media are signed for a time, or for who asked
            await self._extractions.forget(url)
            return await self._through_child(url, into, None, tally, progress)

    async def _through_child(
        self, url: str, into: Path, known: Info | None, tally: _Tally, progress: Progress
    ) -> Fetched | Caption:
        with tempfile.TemporaryDirectory(dir=into.parent, ignore_cleanup_errors=True) as name:
            folder = Path(name)
            async with (
                self._proxy(tally) as proxy,
                extracting(url, proxy=proxy, folder=folder, limits=self._limits, known=known) as extraction,
            ):
                note_seal("extract", extraction.kernel)
                found = extraction.found
                if isinstance(found, Page):
                    tally.way = "caption"
                    return caption_of(found.title, found.description)
                check_length(_length(found), longest=self._longest)
                if known is None:
                    await self._extractions.keep(url, found)
                watch, before = self._watch(lambda: largest_in(folder)), proxy.bytes

                async def counting(size: int) -> None:
                    await _tell(progress, size - before, _size(found))
                    await watch(size)

                proxy.watch(counting)
                path = await extraction.download()
            path.replace(into)
        return Fetched(*await fingerprint(into), said_of(found))

    def _watch(self, where: Callable[[], Path | None]) -> LengthWatch:
        return LengthWatch(self._prober, self._longest, where)

    @asynccontextmanager
    async def _proxy(self, tally: _Tally) -> AsyncIterator[GuardingProxy]:
        async with GuardingProxy(
            self._reach,
            max_bytes=self._limits.max_bytes + _PAGES_BYTES,
            timeout_s=self._limits.extract_s + self._limits.download_s,
            idle_s=self._limits.idle_s,
        ) as proxy:
            try:
                yield proxy
            finally:
                tally.bytes += proxy.bytes
                for reason, times in proxy.refused.items():
                    FETCH_REFUSED.labels(reason).inc(times)


def _length(info: Info) -> timedelta:
    """As the site says, or a playlist; nothing where neither says it."""
    match info.get("duration"):
        case int() | float() as seconds if seconds > 0:
            return timedelta(seconds=min(seconds, _FOREVER_S))
    return timedelta()


def _size(info: Info) -> int | None:
    """Bytes of the media, as its site says or yt-dlp guesses."""
    sizes = (info.get(name) for name in ("filesize", "filesize_approx"))
    return next((int(size) for size in sizes if isinstance(size, int | float) and 0 < size < _MOST_BYTES), None)


async def _tell(progress: Progress, done: int, of: int | None) -> None:
    if of:
        await progress(min(done / of, 1.0))


@asynccontextmanager
async def _counted() -> AsyncIterator[_Tally]:
    tally, started, outcome = _Tally(), time.monotonic(), "ended"
    try:
        yield tally
        outcome = "done"
    except MillraceError as exc:
        if isinstance(exc, TargetRefused):
            FETCH_REFUSED.labels(exc.reason).inc()
        outcome = "later" if isinstance(exc, Retryable | Unavailable) else "refused"
        raise
    finally:
        FETCHES.labels(tally.way, outcome).inc()
        FETCH_SECONDS.labels(tally.way).observe(time.monotonic() - started)
        FETCH_BYTES.labels(tally.way).inc(tally.bytes)
