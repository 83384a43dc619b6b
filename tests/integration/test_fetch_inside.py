"""Pages, playlists and redirects that point inside: judged by a listener there, which must see nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import ThreadedResolver, web
from aiohttp.abc import AbstractResolver

from millrace.errors import MillraceError, Poison
from millrace.fetch.extraction import Limits
from millrace.fetch.reach import Reach
from millrace.telemetry.fetching import fetch_figures
from services.media_agent.adapters.probe import AvProber
from services.media_agent.adapters.sources import SourceFetcher
from services.media_agent.domain import Caption, Fetched
from tests.integration.test_sources import Kept, change
from tests.support.listener import Listener, listening, names
from tests.support.media_site import Handler, MediaSite, make_videos, media_site
from tests.support.unseen import unseen

pytestmark = [pytest.mark.usefixtures("compiled"), pytest.mark.timeout(100)]
AT_A_TIME = 3


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos"))


@pytest.fixture
async def site(videos: Path) -> AsyncIterator[MediaSite]:
    async with media_site(videos) as made:
        yield made


@pytest.fixture
async def inside() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


def sources(site: MediaSite, inside: Listener, resolver: type[AbstractResolver] = ThreadedResolver) -> SourceFetcher:
    return SourceFetcher(
        reach=Reach(frozenset({site.place}), frozenset({inside.port}), resolver),
        limits=Limits(max_bytes=10_000_000, extract_s=40, download_s=40, idle_s=5),
        prober=AvProber(timeout_s=20),
        extractions=Kept(),
        longest=timedelta(minutes=30),
    )


def redirect(to: str, status: int = 302) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": to})

    return answer


def page(body: str, head: str = "") -> str:
    return f"<!doctype html><html><head><title>A page</title>{head}</head><body>{body}</body></html>"


def hls(*lines: str) -> str:
    head = ("#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:2", "#EXT-X-PLAYLIST-TYPE:VOD")
    return "\n".join((*head, *lines, "#EXT-X-ENDLIST", ""))


def json_ld(url: str) -> str:
    about = (
        f'"@type": "VideoObject", "name": "x", "description": "y", "uploadDate": "2026-01-01", "contentUrl": "{url}"'
    )
    return f'<script type="application/ld+json">{{"@context": "https://schema.org", {about}}}</script>'


def dash(base: str) -> str:
    times = '<SegmentTimeline><S t="0" d="2" r="2"/></SegmentTimeline>'
    template = f'<SegmentTemplate timescale="1" initialization="i.m4s" media="$Number$.m4s">{times}</SegmentTemplate>'
    sound = f'<Representation id="1" bandwidth="9000" codecs="mp4a.40.2">{template}</Representation>'
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        f'mediaPresentationDuration="PT6S"><Period><BaseURL>{base}</BaseURL>'
        f'<AdaptationSet mimeType="audio/mp4">{sound}</AdaptationSet></Period></MPD>'
    )


def pointing(to: str) -> dict[str, str]:
    """Documents that lead to an address inside, each in another way, by their path."""
    return {
        "/video.html": page(f'<video src="{to}/v.mp4"></video>'),
        "/source.html": page(f'<audio><source src="{to}/v.mp3" type="audio/mpeg"></audio>'),
        "/open-graph.html": page("", f'<meta property="og:video" content="{to}/v.mp4">'),
        "/json-ld.html": page("", json_ld(f"{to}/v.mp4")),
        "/hls-in-page.html": page(f'<video src="{to}/v.m3u8"></video>'),
        "/refresh.html": page("", f'<meta http-equiv="refresh" content="0; url={to}/">'),
        "/segment.m3u8": hls("#EXTINF:2,", f"{to}/v.ts"),
        "/second-segment.m3u8": hls("#EXTINF:2,", "/video0.ts", "#EXTINF:2,", f"{to}/v.ts"),
        "/key.m3u8": hls(f'#EXT-X-KEY:METHOD=AES-128,URI="{to}/key"', "#EXTINF:2,", "/video0.ts"),
        "/map.m3u8": hls(f'#EXT-X-MAP:URI="{to}/init.mp4"', "#EXTINF:2,", "/video0.ts"),
        "/variant.m3u8": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9000\n{to}/v.m3u8\n",
        "/base.mpd": dash(f"{to}/"),
    }


async def fetched_all(
    fetcher: SourceFetcher, site: MediaSite, paths: list[str], folder: Path
) -> dict[str, Fetched | Caption | MillraceError]:
    """What came of each, a few at a time."""
    room = asyncio.Semaphore(AT_A_TIME)

    async def one(path: str) -> Fetched | Caption | MillraceError:
        async with room:
            try:
                own = folder / path.strip("/").replace("/", "-")
                own.mkdir()
                return await fetcher.fetch(site.url(path), own / "it", unseen)
            except MillraceError as exc:
                return exc

    return dict(zip(paths, await asyncio.gather(*map(one, paths)), strict=True))


async def test_no_document_leads_inside(site: MediaSite, inside: Listener, tmp_path: Path) -> None:
    documents = pointing(f"http://127.0.0.1:{inside.port}")
    site.answers = dict(documents)
    before = fetch_figures()
    came = await fetched_all(sources(site, inside), site, list(documents), tmp_path)
    assert inside.came == []
    for path, what in came.items():
        assert isinstance(what, Poison), (path, what)
        assert "public internet addresses only" in str(what), path
    # Every one of them has tried: a document that yt-dlp does not follow shows nothing.
    assert change(before, "ml_fetch_refused_total{reason=address}") >= len(documents)


async def test_no_redirect_and_no_name_leads_inside(site: MediaSite, inside: Listener, tmp_path: Path) -> None:
    to = f"http://127.0.0.1:{inside.port}"

    async def turns(request: web.Request) -> web.Response:
        """A page for the direct look, and the way inside for the child."""
        if site.asked.count(request.path) == 1:
            return web.Response(text="<!doctype html>", content_type="text/html")
        return web.Response(status=302, headers={"Location": f"{to}/"})

    site.answers = {
        "/turns.html": turns,
        "/media.html": page('<video src="/away.mp4"></video>'),
        "/away.mp4": redirect(f"{to}/v.mp4", 307),
        "/fragment.m3u8": hls("#EXTINF:2,", "/away.ts"),
        "/away.ts": redirect(f"{to}/v.ts", 301),
        "/name.html": page(f'<video src="http://inside.example:{inside.port}/v.mp4"></video>'),
        "/both.html": page(f'<video src="http://both.example:{inside.port}/v.mp4"></video>'),
        "/mapped.html": page(f'<video src="http://[::ffff:127.0.0.1]:{inside.port}/v.mp4"></video>'),
        "/decimal.m3u8": hls("#EXTINF:2,", f"http://2130706433:{inside.port}/v.ts"),
        "/user.m3u8": hls("#EXTINF:2,", f"http://a:b@127.0.0.1:{inside.port}/v.ts"),
    }
    known = names(inside_example=[("127.0.0.1",)], both_example=[("93.184.215.14", "127.0.0.1")])
    paths = [path for path in site.answers if not path.startswith("/away")]
    came = await fetched_all(sources(site, inside, known), site, paths, tmp_path)
    assert inside.came == []
    for path, what in came.items():
        assert isinstance(what, Poison), (path, what)
        # A number in an odd form is not even read as an address.
        said = "not a host and a port" if path == "/decimal.m3u8" else "public internet addresses only"
        assert said in str(what), path


async def test_pictures_and_subtitles_are_not_asked_for(site: MediaSite, inside: Listener, tmp_path: Path) -> None:
    to = f"http://127.0.0.1:{inside.port}"
    tracks = f'<track kind="subtitles" src="{to}/s.vtt" srclang="en"><track kind="captions" src="{to}/c.vtt">'
    head = f'<meta property="og:image" content="{to}/i.png"><link rel="icon" href="{to}/i.ico">'
    site.answers = {"/p.html": page(f'<video poster="{to}/p.png" src="/video.mp4">{tracks}</video>', head)}
    before = fetch_figures()
    assert isinstance(await sources(site, inside).fetch(site.url("/p.html"), tmp_path / "it", unseen), Fetched)
    assert inside.came == []
    assert change(before, "ml_fetch_refused_total{reason=address}") == 0, "not even tried"


async def test_no_other_scheme_is_followed(site: MediaSite, inside: Listener, tmp_path: Path) -> None:
    place = f"127.0.0.1:{inside.port}"
    secret = tmp_path / "secret.mp4"
    await asyncio.to_thread(secret.write_bytes, (site.folder / "video.mp4").read_bytes())
    links = (
        f"file://{secret}",
        f"ftp://{place}/v.mp4",
        f"gopher://{place}/v.mp4",
        f"rtmp://{place}/v",
        f"tcp://{place}",
        f"concat:file://{secret}",
        f"subfile,,start,0,end,9,,:{secret}",
        f"crypto+file://{secret}",
        "pipe:0",
    )
    site.answers = {
        **{f"/page{n}.html": page(f'<video src="{link}"></video>') for n, link in enumerate(links[:2])},
        **{f"/list{n}.m3u8": hls("#EXTINF:2,", link) for n, link in enumerate(links)},
    }
    came = await fetched_all(sources(site, inside), site, list(site.answers), tmp_path)
    assert inside.came == []
    for path, what in came.items():
        assert isinstance(what, MillraceError | Caption), (path, what)
        assert str(tmp_path) not in str(what)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_direct_redirect_leads_nowhere(
    site: MediaSite, inside: Listener, tmp_path: Path, status: int
) -> None:
    places = (
        "127.0.0.1",
        "[::1]",
        "localhost",
        "2130706433",
        "0x7f.1",
        "[::ffff:7f00:1]",
        "0.0.0.0",  # noqa: S104 - connected to, it is this machine
        "inside.example",
    )
    known = names(inside_example=[("127.0.0.1",)], localhost=[("127.0.0.1",)])
    fetcher = sources(site, inside, known)
    for place in places:
        site.answers = {"/away": redirect(f"http://{place}:{inside.port}/v.mp4", status)}
        with pytest.raises(MillraceError):
            await fetcher.fetch(site.url("/away"), tmp_path / "it", unseen)
    assert inside.came == []


async def test_line_breaks_and_smuggled_headers_in_urls_go_nowhere(
    site: MediaSite, inside: Listener, tmp_path: Path
) -> None:
    fetcher = sources(site, inside)
    smuggled = "#__youtubedl_smuggle=%7B%22to_generic%22%3A+true%7D"
    site.answers = {"/page.html": page("nothing")}
    for url in (
        f"http://{site.place}\r\nHost: 127.0.0.1:{inside.port}/",
        f"http://127.0.0.1:{inside.port}\r\n@{site.place}/",
        f"{site.url('/page.html')}{smuggled}",
    ):
        with pytest.raises(MillraceError):
            await fetcher.fetch(url, tmp_path / "it", unseen)
    assert inside.came == []
