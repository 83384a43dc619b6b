from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from millrace.contracts.events import MediaReady, ShareCreated
from millrace.errors import Poison, Retryable, Unavailable
from millrace.models.tariffs import PerMinute
from millrace.money import MicroUSD
from millrace.store.blobs import BlobMissing, LocalBlobStore, media_key
from millrace.store.blobs.scratch import FETCHING
from millrace.stream.stage import GENERATION_OPTION, Finished, Plan, StageHandler, planned
from millrace.testing.run import FakeRun
from millrace.testing.samples import NOW, media_ready, share_created
from services.media_agent.domain import Fetched, MediaResult, Probe, Said
from services.media_agent.handler import MediaHandler
from services.media_agent.ports import Progress
from tests.support.shelf import FakeShelf

CONTENT = b"not really a video"
SHA = hashlib.sha256(CONTENT).hexdigest()
URL = "https://example.org/clip.mp4"
UPLOAD = share_created(source_kind="upload", blob_key="uploads/clip.mp4")
LINK = share_created(source_kind="url", url=URL)


class FakeFetcher:
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.fetched: list[str] = []
        self.folders: list[Path] = []
        self.said = Said()

    async def fetch(self, url: str, into: Path, progress: Progress) -> Fetched:
        await progress(0.5)
        self.fetched.append(url)
        self.folders.append(into.parent)
        await asyncio.to_thread(into.write_bytes, CONTENT)
        if self.error:
            raise self.error
        return Fetched(SHA, len(CONTENT), self.said)


class FakeProber:
    def __init__(self) -> None:
        self.answer: Probe | Exception = Probe("mov,mp4,m4a,3gp,3g2,mj2", 10_000, "aac", "h264", {"title": "Inside"})

    async def probe(self, path: Path) -> Probe:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Bench:
    def __init__(self, folder: Path) -> None:
        self.store = LocalBlobStore(folder)
        self.shelf = FakeShelf(self.store)
        self.fetcher = FakeFetcher()
        self.prober = FakeProber()
        self.run = FakeRun()
        self.handler: StageHandler[ShareCreated, MediaResult] = MediaHandler(
            blobs=self.store,
            shelf=self.shelf,
            scratch=folder / FETCHING,
            kept_for=timedelta(days=1),
            fetcher=self.fetcher,
            prober=self.prober,
            allow=frozenset(),
            longest=timedelta(minutes=30),
            speech=PerMinute(Decimal("0.006")),
        )

    def plan(self, share: object) -> Plan[ShareCreated]:
        assert isinstance(share, type(LINK))
        plan = self.handler.plan(share, {})
        assert plan is not None
        return plan

    async def work(self, share: object) -> MediaResult:
        return await self.handler.work(self.plan(share), self.run)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "store")


async def test_a_url_is_fetched_into_the_store_under_its_content(bench: Bench) -> None:
    result = await bench.work(LINK)
    assert bench.fetcher.fetched == [URL]
    assert result.blob_key == media_key(SHA, ".mp4", NOW)
    assert bench.shelf.metadata["title"] == "Inside"
    assert await bench.store.read(result.blob_key) == CONTENT
    assert (result.sha256, result.size_bytes, result.duration_ms) == (SHA, len(CONTENT), 10_000)
    assert bench.run.calls == [], "fetching is not a paid call"


async def test_an_upload_stays_where_it_is(bench: Bench) -> None:
    await bench.store.put_bytes("uploads/clip.mp4", CONTENT)
    result = await bench.work(UPLOAD)
    assert (result.blob_key, result.sha256) == ("uploads/clip.mp4", SHA)
    assert bench.fetcher.fetched == []


async def test_an_empty_upload_is_refused(bench: Bench) -> None:
    await bench.store.put_bytes("uploads/clip.mp4", b"")
    with pytest.raises(Poison, match="empty"):
        await bench.work(UPLOAD)


async def test_an_upload_that_is_gone_is_refused(bench: Bench) -> None:
    await bench.store.put_bytes("uploads/other.mp4", CONTENT)
    with pytest.raises(BlobMissing):
        await bench.work(UPLOAD)


async def test_an_upload_waits_for_a_store_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(Unavailable):
        await bench.work(UPLOAD)


@pytest.mark.parametrize("error", [Retryable("no answer"), Poison("nothing there")])
async def test_a_failed_fetch_leaves_nothing_behind(bench: Bench, error: Exception, tmp_path: Path) -> None:
    bench.fetcher.error = error
    with pytest.raises(type(error)):
        await bench.work(LINK)
    assert not any(folder.exists() for folder in bench.fetcher.folders)
    assert not any(path.is_file() for path in (tmp_path / "store").rglob("*"))


async def test_what_is_not_media_is_not_stored(bench: Bench, tmp_path: Path) -> None:
    bench.prober.answer = Poison("this is not a media file")
    with pytest.raises(Poison, match="not a media file"):
        await bench.work(LINK)
    assert not any(path.is_file() for path in (tmp_path / "store").rglob("*"))


async def test_what_one_person_calls_it_is_not_written_on_what_others_are_given(bench: Bench) -> None:
    for said, title in ((Said(), "Inside"), (Said("Of the page"), "Of the page")):
        bench.fetcher.said = said
        await bench.work(share_created(source_kind="url", url=URL, title="Private words"))
        assert bench.shelf.metadata == {"title": title, "format": "mov,mp4,m4a,3gp,3g2,mj2"}


async def test_media_is_fetched_to_where_leftovers_are_swept(bench: Bench, tmp_path: Path) -> None:
    await bench.work(LINK)
    (folder,) = bench.fetcher.folders
    assert folder.parent == tmp_path / "store" / FETCHING


async def test_media_that_is_too_long_is_refused(bench: Bench) -> None:
    bench.prober.answer = Probe("wav", 3_600_000, "pcm_s16le", None)
    with pytest.raises(Poison, match="lasts 60 min; at most 30 min"):
        await bench.work(LINK)


async def test_the_event_tells_about_the_share_and_the_media(bench: Bench) -> None:
    share = share_created(share_id="share-2", source_kind="url", url=URL)
    plan = bench.plan(share)
    event = bench.handler.event(plan, Finished(plan.work_key("media"), await bench.work(share), MicroUSD(0), NOW))
    assert isinstance(event, MediaReady)
    assert (event.share_id, event.account, event.title, event.source_url) == ("share-2", "acme", "Inside", URL)
    assert (event.has_audio, event.has_video, event.estimated_cost_micro_usd) == (True, True, 1000)
    assert event.media_url == await bench.store.url(event.blob_key)


async def test_what_a_page_says_goes_before_what_the_file_says(bench: Bench) -> None:
    bench.fetcher.said = Said("Of the page", {"platform": "Vimeo", "title": "Mine"})
    for title, expected in ((None, "Of the page"), ("Of the share", "Of the share")):
        share = share_created(source_kind="url", url=URL, title=title)
        plan = bench.plan(share)
        event = bench.handler.event(plan, Finished(plan.work_key("media"), await bench.work(share), MicroUSD(0), NOW))
        assert isinstance(event, MediaReady)
        assert event.title == expected
        assert event.metadata == {"platform": "Vimeo", "title": "Mine"}


def test_text_has_no_media_and_other_events_are_not_for_this_stage(bench: Bench) -> None:
    assert bench.handler.plan(share_created(text="words"), {}) is None
    assert bench.handler.plan(media_ready(), {}) is None


def test_the_same_source_is_the_same_work_whoever_shares_it(bench: Bench) -> None:
    again = share_created(share_id="share-2", account="other", source_kind="url", url=URL, title="Mine")
    assert bench.plan(LINK).work_key("media") == bench.plan(again).work_key("media")
    assert bench.plan(LINK).work_key("media") != bench.plan(UPLOAD).work_key("media")


def test_a_url_that_is_never_fetched_is_refused_before_any_work(bench: Bench) -> None:
    with pytest.raises(Poison, match="only http and https"):
        bench.handler.plan(share_created(source_kind="url", url="file:///etc/passwd"), {})


def test_a_url_is_fetched_again_in_the_next_half_of_the_time_that_media_is_kept(bench: Bench) -> None:
    midnight = datetime(2026, 11, 27, tzinfo=UTC)
    keys = {
        hour: bench.plan(
            share_created(source_kind="url", url=URL, created_at=midnight + timedelta(hours=hour))
        ).work_key("media")
        for hour in (0, 11, 12, 23, 24)
    }
    assert keys[0] == keys[11] != keys[12] == keys[23] != keys[24]


def test_an_upload_is_kept_so_when_it_was_shared_does_not_matter(bench: Bench) -> None:
    later = UPLOAD.model_copy(update={"created_at": UPLOAD.created_at + timedelta(days=30)})
    assert bench.plan(UPLOAD).work_key("media") == bench.plan(later).work_key("media")


async def test_media_that_is_asked_for_by_force_is_fetched_again(bench: Bench) -> None:
    """What `millrace replay media --force` asks for, when the media of a share has expired."""
    first = await bench.work(LINK)
    await bench.store.delete(first.blob_key)
    forced = planned(bench.handler, LINK, {GENERATION_OPTION: "replay-1"})
    assert forced is not None
    assert forced.work_key("media") != bench.plan(LINK).work_key("media")
    again = await bench.handler.work(forced, bench.run)
    assert bench.fetcher.fetched == [URL, URL]
    assert await bench.store.read(again.blob_key) == CONTENT
