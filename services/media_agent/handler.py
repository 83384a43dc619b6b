"""The stage's handler: from a share to media in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from millrace.contracts.events import Event, MediaReady, ResultEvent, ShareCreated
from millrace.errors import Poison
from millrace.fetch.addresses import target_of
from millrace.ids import content_hash
from millrace.models.port import Tariff
from millrace.money import ZERO, MicroUSD
from millrace.store.blobs import BlobStore, fingerprint
from millrace.store.blobs.scratch import scratch_folder
from millrace.store.media import fetch_period
from millrace.stream.stage import BACKEND_OPTION, MODEL_OPTION, Finished, Plan, Run, StageHandler
from services.media_agent.domain import NO_VIDEO, Caption, Fetched, MediaResult, Probe, check_probe, suffix_of
from services.media_agent.ports import Fetcher, Prober, Sent, Shelf

_PROBE = "probe-1"
"""Stands where other stages name a model; a change in what is read from media changes it."""

_FETCHED = 0.8  # share of the progress display that fetching takes


class MediaHandler(StageHandler[ShareCreated, MediaResult]):
    """Fetches media and looks into it. Makes no paid call.

    :param scratch: folder for what is being fetched, which somebody sweeps.
    :param kept_for: how long fetched media is kept at least; it decides when a URL is fetched again.
    :param allow: `host:port` pairs that are exempt from the rules about addresses.
    :param speech: what transcribing costs, for the estimate in the event.
    """

    result_type = MediaResult
    event_type = MediaReady

    def __init__(
        self,
        *,
        blobs: BlobStore,
        shelf: Shelf,
        scratch: Path,
        kept_for: timedelta,
        fetcher: Fetcher,
        prober: Prober,
        allow: frozenset[str],
        longest: timedelta,
        speech: Tariff,
    ) -> None:
        self._blobs = blobs
        self._shelf = shelf
        self._scratch = scratch
        self._kept_for = kept_for
        self._fetcher = fetcher
        self._prober = prober
        self._allow = allow
        self._longest = longest
        self._speech = speech

    def plan(self, event: Event, options: Mapping[str, str]) -> Plan[ShareCreated] | None:
        """Uploads and URLs are media; text has none.

        The same URL is fetched once in half the time that media is kept: of what is fetched later some time is left,
        too. Which half it is depends on when the share was created, so a replay asks for the same work.
        """
        if not isinstance(event, ShareCreated) or event.source_kind == "text":
            return None
        if MODEL_OPTION in options or BACKEND_OPTION in options:
            raise Poison("the media stage works without a model, so no other one can be chosen")
        if event.source_kind == "url":
            target_of(event.url or "", self._allow)
        source = f"{event.source_kind}:{event.url or event.blob_key}"
        period = {"period": fetch_period(event.created_at, self._kept_for)} if event.source_kind == "url" else {}
        return Plan(event, content_hash(source), _PROBE, period)

    def most(self, plan: Plan[ShareCreated]) -> MicroUSD:
        """Fetching is free."""
        del plan
        return ZERO

    async def work(self, plan: Plan[ShareCreated], run: Run) -> MediaResult:
        """Bring the media into the store and probe it."""
        share = plan.event
        if share.blob_key is not None:
            async with self._blobs.local_copy(share.blob_key, _part(run, 0, _FETCHED)) as path:
                file = await fingerprint(path)
                probe = await self._probe(path, file)
            return await self._result(share.blob_key, Fetched(*file), probe)
        with scratch_folder(self._scratch) as folder:
            path = folder / "media"
            fetched = await self._fetcher.fetch(share.url or "", path, lambda done: run.progress(_FETCHED * done))
            if isinstance(fetched, Caption):
                return _without_media(fetched)
            await run.progress(_FETCHED)
            probe = await self._probe(path, (fetched.sha256, fetched.size_bytes))
            # Only what the source says: whoever else shares this content is given the same object.
            metadata = {"title": fetched.said.title or probe.tags.get("title", ""), "format": probe.format}
            told = _part(run, _FETCHED, 1)
            key = await self._shelf.place(path, fetched.sha256, suffix_of(probe.format), metadata, told)
        return await self._result(key, fetched, probe)

    def event(self, plan: Plan[ShareCreated], done: Finished[MediaResult]) -> ResultEvent:
        """`MediaReady` for the share."""
        share, result = plan.event, done.result
        return done.as_event(
            self.event_type,
            share,
            has_video=result.video_codec is not None,
            has_audio=result.audio_codec is not None,
            title=share.title or result.title or result.metadata.get("title"),
            source_url=share.url,
            estimated_cost_micro_usd=self._speech.most(audio_ms=result.duration_ms) if result.audio_codec else ZERO,
        )

    async def _probe(self, path: Path, file: tuple[str, int]) -> Probe:
        if file[1] == 0:
            raise Poison("this file is empty")
        probe = await self._prober.probe(path)
        check_probe(probe, longest=self._longest)
        return probe

    async def _result(self, key: str, file: Fetched, probe: Probe) -> MediaResult:
        return MediaResult(
            blob_key=key,
            media_url=await self._blobs.url(key),
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            duration_ms=probe.duration_ms,
            format=probe.format,
            audio_codec=probe.audio_codec,
            video_codec=probe.video_codec,
            title=file.said.title,
            metadata={**probe.tags, **file.said.metadata},
        )


def _part(run: Run, start: float, end: float) -> Sent:
    """Shows bytes as the part of the progress display between two fractions."""
    return lambda done, of: run.progress(start + (end - start) * done / max(1, of))


def _without_media(page: Caption) -> MediaResult:
    """Its caption stands for what would have been said: the next stages go on with it."""
    return MediaResult(
        blob_key="",
        media_url="",
        sha256=hashlib.sha256(page.text.encode()).hexdigest(),
        size_bytes=0,
        duration_ms=0,
        format="",
        title=page.said.title,
        metadata=page.said.metadata,
        skipped_reason=NO_VIDEO,
        caption=page.text or None,
    )
