"""Media from pages, playlists and files, through real children and real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psutil
import pytest
from aiohttp import web
from pydantic import JsonValue

from millrace.contracts.events import ResultEvent
from millrace.errors import Poison, Retryable
from millrace.fetch.extraction import Limits
from millrace.fetch.reach import Reach
from millrace.models.tariffs import PerSecond
from millrace.money import MicroUSD
from millrace.store.blobs import LocalBlobStore
from millrace.store.blobs.scratch import FETCHING
from millrace.stream.stage import Finished
from millrace.telemetry.fetching import fetch_figures
from millrace.testing.run import FakeRun
from millrace.testing.samples import NOW, share_created
from services.media_agent.adapters.probe import AvProber
from services.media_agent.adapters.sources import SourceFetcher
from services.media_agent.domain import Caption, Fetched
from services.media_agent.handler import MediaHandler
from tests.integration.test_probe_seal import kernel_here
from tests.support.media_site import Handler, MediaSite, ffmpeg, make_videos, media_site
from tests.support.shelf import FakeShelf
from tests.support.unseen import unseen

pytestmark = [pytest.mark.usefixtures("compiled"), pytest.mark.timeout(100)]
PROBER = AvProber(timeout_s=20)
PAGE = """<!doctype html><html><head><title>A talk</title><meta property="og:description" content="About mills">
</head><body><video src="{src}"></video></body></html>"""


class Kept:
    """Extractions in memory; the table is tested in test_extractions.py."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, JsonValue]] = {}

    async def find(self, url: str) -> dict[str, JsonValue] | None:
        return self.kept.get(url)

    async def keep(self, url: str, info: dict[str, JsonValue]) -> None:
        self.kept[url] = info

    async def forget(self, url: str) -> None:
        self.kept.pop(url, None)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture
async def site(videos: Path) -> AsyncIterator[MediaSite]:
    async with media_site(videos) as made:
        yield made


def sources(site: MediaSite, kept: Kept | None = None, **limits: float) -> SourceFetcher:
    given = {"max_bytes": 200_000_000, "extract_s": 30.0, "download_s": 60.0, "idle_s": 5.0, **limits}
    return SourceFetcher(
        reach=Reach(frozenset({site.place})),
        limits=Limits(int(given["max_bytes"]), given["extract_s"], given["download_s"], given["idle_s"]),
        prober=PROBER,
        extractions=kept or Kept(),
        longest=timedelta(minutes=30),
    )


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def change(before: dict[str, float], name: str) -> float:
    return fetch_figures().get(name, 0.0) - before.get(name, 0.0)


@pytest.mark.parametrize(
    ("path", "format_", "codecs"),
    [
        ("/video.mp4", "mov,mp4,m4a,3gp,3g2,mj2", ("aac", "h264")),
        ("/talk.html", "mov,mp4,m4a,3gp,3g2,mj2", ("aac", "h264")),
        ("/video.m3u8", "mpegts", ("aac", "h264")),
        ("/master", "mpegts", ("aac", "h264")),
        ("/video.mpd", "mov,mp4,m4a,3gp,3g2,mj2", ("aac", None)),  # separate streams: the sound, without merging
    ],
)
async def test_files_pages_and_playlists_become_media(
    site: MediaSite, tmp_path: Path, path: str, format_: str, codecs: tuple[str, str | None]
) -> None:
    site.answers = {
        "/talk.html": PAGE.replace("{src}", "/video.mp4"),
        "/master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=90000,RESOLUTION=160x120\nvideo.m3u8\n",
    }
    before = fetch_figures()
    fetched = await sources(site).fetch(site.url(path), tmp_path / "it", unseen)
    assert isinstance(fetched, Fetched)
    assert fetched.size_bytes == (tmp_path / "it").stat().st_size
    probe = await PROBER.probe(tmp_path / "it")
    assert (probe.format, probe.audio_codec, probe.video_codec) == (format_, *codecs)
    assert 5800 < probe.duration_ms < 6300
    assert names_in(tmp_path) == ["it"], "the child's folder is gone"
    way = "direct" if path == "/video.mp4" else "ytdlp"
    assert change(before, f"ml_fetches_total{{outcome=done,way={way}}}") == 1
    assert change(before, f"ml_fetch_bytes_total{{way={way}}}") >= fetched.size_bytes


async def test_the_site_says_what_the_video_is_about(site: MediaSite, tmp_path: Path) -> None:
    site.answers = {"/talk.html": PAGE.replace("{src}", "/video.mp4")}
    fetched = await sources(site).fetch(site.url("/talk.html"), tmp_path / "it", unseen)
    assert isinstance(fetched, Fetched)
    assert (fetched.said.title or "").startswith("A talk")
    assert fetched.said.metadata["description"] == "About mills"


REFUSED = {
    "/live.m3u8": ("live stream", Poison),
    "/two.html": ("several videos", Poison),
    "/broken.html": ("holds no longer", Retryable),
    "/long.m3u8": ("lasts 35 min; at most 30 min", Poison),
    "/nothing.html": ("nothing at this URL", Poison),
}


@pytest.mark.parametrize("path", REFUSED)
async def test_what_cannot_be_media_is_refused_with_a_sentence(site: MediaSite, tmp_path: Path, path: str) -> None:
    playlist = (site.folder / "video.m3u8").read_text()
    long = "".join(f"#EXTINF:100.0,\nvideo{n}.ts\n" for n in range(21))
    site.answers = {
        "/live.m3u8": playlist.replace("#EXT-X-ENDLIST", ""),
        "/two.html": PAGE.replace("{src}", '/video.mp4"></video><video src="/other.mp4'),
        "/broken.html": PAGE.replace("{src}", "/gone.mp4"),
        "/long.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:100\n{long}#EXT-X-ENDLIST\n",
    }
    sentence, route = REFUSED[path]
    with pytest.raises(route, match=sentence):
        await sources(site).fetch(site.url(path), tmp_path / "it", unseen)
    assert not any(name.endswith(".ts") for name in site.asked), "refused before anything was downloaded"
    assert names_in(tmp_path) == []


async def shared(site: MediaSite, path: str, store: Path) -> ResultEvent:
    """The stage's event about a page that somebody shared."""
    blobs = LocalBlobStore(store)
    handler = MediaHandler(
        blobs=blobs,
        shelf=FakeShelf(blobs),
        scratch=store / FETCHING,
        kept_for=timedelta(days=1),
        fetcher=sources(site),
        prober=PROBER,
        allow=frozenset({site.place}),
        longest=timedelta(minutes=30),
        speech=PerSecond(Decimal(1)),
    )
    plan = handler.plan(share_created(source_kind="url", url=site.url(path)), {})
    assert plan is not None
    result = await handler.work(plan, FakeRun())
    return handler.event(plan, Finished(plan.work_key("media"), result, MicroUSD(0), NOW))


async def test_how_far_a_download_is_can_be_seen(site: MediaSite, tmp_path: Path) -> None:
    seen: list[float] = []

    async def progress(done: float) -> None:
        seen.append(done)

    await sources(site).fetch(site.url("/video.mp4"), tmp_path / "it", progress)
    assert seen == sorted(seen)
    assert (seen[0] > 0, seen[-1]) == (True, 1.0)


async def test_a_page_without_a_video_becomes_its_caption(site: MediaSite, tmp_path: Path) -> None:
    site.answers = {
        "/notes.html": "<!doctype html><html><head><title>Site: notes</title>"
        '<meta property="og:title" content="Notes &amp; more"><meta name="description" content="What was\0 said.">'
        "</head><body><p>Long text</p></body></html>",
    }
    event = (await shared(site, "/notes.html", tmp_path / "store")).model_dump()
    assert event["caption"] == "Notes & more\n\nWhat was\ufffd said."
    assert (event["skipped_reason"], event["title"], event["blob_key"]) == ("no-video", "Notes & more", "")
    assert (event["duration_ms"], event["has_audio"], event["estimated_cost_micro_usd"]) == (0, False, 0)
    assert not any(path.is_file() for path in (tmp_path / "store").rglob("*"))


def page_with(headers: dict[str, str], html: str, *, fails_from: int = 99) -> Handler:
    """A page; from this request on (the first is the direct look) its server fails."""
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked >= fails_from:
            return web.Response(status=503)
        return web.Response(body=html.encode(), headers={"Content-Type": "text/html", **headers})

    return answer


@pytest.mark.parametrize("charset", ["utf-8", "nonsense", "hex"])
async def test_a_page_is_captioned_whatever_is_broken_in_it(site: MediaSite, tmp_path: Path, charset: str) -> None:
    html = "<!doctype html><title>Notes</title><![foo bar[ <p>"
    site.answers = {"/notes.html": page_with({"Content-Type": f"text/html; charset={charset}"}, html)}
    caption = await sources(site).fetch(site.url("/notes.html"), tmp_path / "it", unseen)
    assert isinstance(caption, Caption)
    assert caption.text == "Notes"


async def test_a_page_that_cannot_be_read_again_for_its_caption_says_why(site: MediaSite, tmp_path: Path) -> None:
    html = "<!doctype html><title>Notes</title>"
    asked = page_with({}, html)
    site.answers = {"/notes.html": asked}
    assert isinstance(await sources(site).fetch(site.url("/notes.html"), tmp_path / "it", unseen), Caption)
    site.answers = {"/notes.html": page_with({}, html, fails_from=site.asked.count("/notes.html"))}
    with pytest.raises(Retryable, match="does not answer properly"):
        await sources(site).fetch(site.url("/notes.html"), tmp_path / "it", unseen)


def long_mov(path: Path) -> Path:
    """35 minutes that say so in their first bytes: 67 MB."""
    silence = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "2100")
    ffmpeg(*silence, "-c:a", "pcm_s16le", "-movflags", "+faststart", path)
    return path


def long_mp3(path: Path) -> Path:
    """Four hours that say nothing about their length: 28 MB."""
    minute = path.with_suffix(".minute.mp3")
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "60", "-b:a", "16k", "-write_xing", "0", minute)
    path.write_bytes(minute.read_bytes() * 240)
    return path


# TCP's buffers hold some megabytes on loopback: what the server has written need not have been read.
BUFFERED = 14_000_000


@pytest.mark.parametrize("through_page", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("make", "looked_at"), [(long_mov, 1_000_000), (long_mp3, 4_000_000)])
async def test_media_that_is_too_long_is_not_read_to_its_end(
    tmp_path: Path, make: object, looked_at: int, chunked: bool, through_page: bool
) -> None:
    assert callable(make)
    suffix = ".mov" if make is long_mov else ".mp3"
    file = make(tmp_path / f"long{suffix}")
    into = tmp_path / "into"
    into.mkdir()
    async with media_site(tmp_path) as site:
        site.chunked = chunked
        site.answers = {"/page.html": PAGE.replace("{src}", f"/long{suffix}")}
        path = "/page.html" if through_page else f"/long{suffix}"
        with pytest.raises(Poison, match="at most 30 min are taken"):
            await sources(site).fetch(site.url(path), into / "it", unseen)
        assert site.sent < looked_at + BUFFERED < file.stat().st_size


async def test_too_many_bytes_are_refused_on_their_way_through_the_child(site: MediaSite, tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "video/mp4"})
        await response.prepare(request)
        while True:
            await response.write(bytes(100_000))

    site.answers = {"/page.html": PAGE.replace("{src}", "/endless.mp4"), "/endless.mp4": endless}
    with pytest.raises((Poison, Retryable), match=r"larger than|more than"):
        await sources(site, max_bytes=2_000_000).fetch(site.url("/page.html"), tmp_path / "it", unseen)


class Tokens:
    """A site that signs the addresses of its media: each page has a fresh token, old ones are refused."""

    def __init__(self, video: bytes, *, good: int) -> None:
        self.video, self.good, self.made = video, good, 0

    async def page(self, _: web.Request) -> web.Response:
        self.made += 1
        return web.Response(text=PAGE.replace("{src}", f"/v.mp4?token=t{self.made}"), content_type="text/html")

    async def media(self, request: web.Request) -> web.Response:
        if request.query["token"] != f"t{self.good}":
            return web.Response(status=403)
        return web.Response(body=self.video, content_type="video/mp4")


async def test_a_token_that_has_run_out_is_fetched_anew_once(site: MediaSite, tmp_path: Path) -> None:
    kept, url = Kept(), site.url("/page.html")
    tokens = Tokens((site.folder / "video.mp4").read_bytes(), good=3)
    site.answers = {"/page.html": tokens.page, "/v.mp4": tokens.media}
    # The direct look is told t1, the extraction t2, which is refused, and a fresh one t3.
    assert isinstance(await sources(site, kept).fetch(url, tmp_path / "fresh", unseen), Fetched)
    assert tokens.made == 3
    tokens.good = 5  # t4 is the direct look's, t3 was kept
    assert isinstance(await sources(site, kept).fetch(url, tmp_path / "kept", unseen), Fetched)
    assert tokens.made == 5
    tokens.good = 0
    with pytest.raises(Retryable, match="HTTP 403"):
        await sources(site, kept).fetch(url, tmp_path / "never", unseen)
    assert tokens.made == 7, "once, not for ever"


@pytest.mark.parametrize("now", ["a page", "nothing", "a broken playlist", "what kills the child"])
async def test_what_was_kept_and_leads_nowhere_is_extracted_anew(site: MediaSite, tmp_path: Path, now: str) -> None:
    kept, url = Kept(), site.url("/talk.html")
    site.answers = {"/talk.html": PAGE.replace("{src}", "/video.mp4")}
    await sources(site, kept).fetch(url, tmp_path / "one", unseen)
    stale: dict[str, dict[str, JsonValue]] = {
        "a page": {"url": site.url("/talk.html"), "protocol": "m3u8_native"},
        "nothing": {"url": site.url("/removed.mp4")},
        "a broken playlist": {"url": site.url("/broken.m3u8"), "protocol": "m3u8_native", "ext": "mp4"},
        "what kills the child": {"url": 5, "formats": [], "fragments": 7, "protocol": "http_dash_segments"},
    }
    site.answers["/broken.m3u8"] = "#EXTM3U\n#EXT-X-ENDLIST\n"
    kept.kept[url] = {**kept.kept[url], **stale[now]}
    fetched = await sources(site, kept).fetch(url, tmp_path / "two", unseen)
    assert isinstance(fetched, Fetched)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert kept.kept[url]["url"] == site.url("/video.mp4"), "the fresh one took its place"


async def test_what_was_kept_is_forgotten_when_there_is_nothing_any_more(site: MediaSite, tmp_path: Path) -> None:
    kept, url = Kept(), site.url("/talk.html")
    site.answers = {"/talk.html": PAGE.replace("{src}", "/removed.mp4")}
    kept.kept[url] = {"id": "1", "title": "x", "url": site.url("/removed.mp4"), "ext": "mp4", "protocol": "http"}
    with pytest.raises(Retryable, match="holds no longer"):
        await sources(site, kept).fetch(url, tmp_path / "it", unseen)
    assert site.asked.count("/talk.html") == 2, "looked at directly, then extracted once"


async def test_what_was_kept_and_is_too_large_is_not_extracted_again(site: MediaSite, tmp_path: Path) -> None:
    kept, url = Kept(), site.url("/talk.html")
    site.answers = {"/talk.html": PAGE.replace("{src}", "/video.mp4")}
    await sources(site, kept).fetch(url, tmp_path / "one", unseen)
    asked = site.asked.count("/talk.html")
    with pytest.raises(Poison, match="larger than"):
        await sources(site, kept, max_bytes=10_000).fetch(url, tmp_path / "two", unseen)
    assert site.asked.count("/talk.html") == asked + 1, "looked at directly, not extracted"


async def test_what_was_extracted_is_not_extracted_again(site: MediaSite, tmp_path: Path) -> None:
    kept, before = Kept(), fetch_figures()
    site.answers = {"/talk.html": PAGE.replace("{src}", "/video.mp4")}
    for name in ("one", "two"):
        await sources(site, kept).fetch(site.url("/talk.html"), tmp_path / name, unseen)
    # Each fetch looks at the URL itself; the first one extracts besides.
    assert site.asked.count("/talk.html") == 3
    assert change(before, "ml_fetch_cache_total{found=yes}") == 1
    assert fetch_figures()["ml_fetch_kernel_seal{child=extract}"] == await kernel_here()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_site_that_stalls_leaves_no_child_behind(site: MediaSite, tmp_path: Path, cancelled: bool) -> None:
    reached = asyncio.Event()

    async def page(_: web.Request) -> web.Response:
        if site.asked.count("/page.html") > 1:  # the direct look is answered
            reached.set()
            await asyncio.sleep(30)
        return web.Response(text="<!doctype html>", content_type="text/html")

    site.answers = {"/page.html": page}
    others = set(psutil.Process().children())  # the stack that other tests use
    limits = {"extract_s": 30.0 if cancelled else 2.0, "idle_s": 30.0}
    task = asyncio.create_task(sources(site, None, **limits).fetch(site.url("/page.html"), tmp_path / "it", unseen))
    await reached.wait()
    (child,) = set(psutil.Process().children()) - others
    if cancelled:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with pytest.raises(Retryable, match="takes more than 2 s"):
            await task
    assert not child.is_running()
    assert names_in(tmp_path) == []
