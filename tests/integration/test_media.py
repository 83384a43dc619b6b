"""Real media through ffmpeg and PyAV, and real HTTP over loopback."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import av
import imageio_ffmpeg
import pytest
from aiohttp import AddrInfoType, ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult

from millrace.errors import Poison, Retryable
from millrace.fetch import http
from millrace.fetch.http import Fetched, HttpFetcher
from millrace.fetch.reach import Reach
from millrace.testing.media import JFK_WAV
from services.media_agent.adapters.probe import AvProber
from services.transcribe_agent.adapters.ffmpeg import FfmpegDecoder
from tests.support.listener import listening
from tests.support.site import site as web_site

PROBER = AvProber(timeout_s=20)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def ffmpeg(*arguments: str | Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


@pytest.fixture
def speech_video(tmp_path: Path) -> Path:
    path = tmp_path / "speech-with-picture.mp4"
    picture = ("-f", "lavfi", "-i", "color=c=teal:s=160x120:r=5:d=11")
    ffmpeg(*picture, "-i", JFK_WAV, "-metadata", "title=Inaugural address", path)
    return path


async def test_a_video_is_probed(speech_video: Path) -> None:
    probe = await PROBER.probe(speech_video)
    assert (probe.format, probe.audio_codec, probe.video_codec) == ("mov,mp4,m4a,3gp,3g2,mj2", "aac", "h264")
    assert 10_900 < probe.duration_ms < 11_400
    assert probe.tags == {"title": "Inaugural address"}


async def test_a_cover_is_not_moving_pictures(tmp_path: Path) -> None:
    cover, song = tmp_path / "cover.png", tmp_path / "song.mp3"
    ffmpeg("-f", "lavfi", "-i", "color=c=red:s=64x64", "-frames:v", "1", cover)
    ffmpeg("-i", JFK_WAV, "-i", cover, "-map", "0", "-map", "1", "-disposition:v", "attached_pic", song)
    probe = await PROBER.probe(song)
    assert (probe.audio_codec, probe.video_codec) == ("mp3float", None)


async def test_a_recording_that_does_not_say_its_length_is_measured(tmp_path: Path) -> None:
    live = tmp_path / "live.webm"
    ffmpeg("-i", JFK_WAV, "-c:a", "libopus", "-f", "webm", "-live", "1", live)
    assert 10_900 < (await PROBER.probe(live)).duration_ms < 11_200


async def test_sound_of_no_length_is_probed_as_such(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.wav"
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "0", nothing)
    assert (await PROBER.probe(nothing)).duration_ms == 0


async def test_files_that_are_not_media_are_refused(tmp_path: Path, speech_video: Path) -> None:
    texts = {
        "text.mp4": b"These are words and not a video. " * 50,
        "three.wav": b"abc",
        "page.html": b"<!doctype html><title>video</title>" * 20,
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "header-only.mp4": (await asyncio.to_thread(speech_video.read_bytes))[:40],
        "playlist.mp4": f"#EXTM3U\n#EXTINF:11,\n{JFK_WAV.as_uri()}\n#EXT-X-ENDLIST\n".encode(),
        "concat.mp4": f"ffconcat version 1.0\nfile '{JFK_WAV}'\n".encode(),
    }
    for name, content in texts.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(Poison, match="not a media file"):
            await PROBER.probe(path)


async def test_no_playlist_in_disguise_makes_ffmpeg_open_anything_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(await asyncio.to_thread(JFK_WAV.read_bytes))
    async with listening() as inside:
        place = f"127.0.0.1:{inside.port}"
        links = (
            f"http://{place}/v.ts",
            f"tcp://{place}",
            f"rtmp://{place}/v",
            secret.as_uri(),
            str(secret),
            f"concat:{secret}",
            f"subfile,,start,0,end,0,,:{secret}",
            f"crypto+file:{secret}",
            f"crypto:http://{place}/v.ts",
            "pipe:0",
            "data:audio/wav;base64,UklGRg==",
        )
        key = f'#EXT-X-KEY:METHOD=AES-128,URI="http://{place}/key"\n'
        playlists = [f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{link}\n#EXT-X-ENDLIST\n" for link in links]
        playlists.append(f"#EXTM3U\n{key}#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n")
        playlists.append(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\nhttp://{place}/v.m3u8\n")
        playlists.append(f"ffconcat version 1.0\nfile 'http://{place}/v.ts'\n")
        playlists.append(f'<?xml version="1.0"?><MPD><Period><BaseURL>http://{place}/</BaseURL></Period></MPD>')
        playlists.append(f"[playlist]\nFile1=http://{place}/v.mp3\n")
        playlists.append(f"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio {inside.port} RTP/AVP 0\n")
        decoder = FfmpegDecoder(max_media_s=20, timeout_s=20)
        for n, playlist in enumerate(playlists):
            path = tmp_path / f"list{n}{('.m3u8', '.mp4', '.ts')[n % 3]}"
            path.write_text(playlist)
            with pytest.raises(Poison, match="not a media file"):
                await PROBER.probe(path)
            with pytest.raises(Poison, match="cannot be decoded"):
                await decoder.decode(path)
        assert inside.came == []


def referring(path: Path, to: str) -> bytes:
    """A QuickTime file whose sound is said to lie in another file: its own data reference is exchanged."""
    record = bytes(10) + bytes([6]) + b"volume".ljust(27, b"\0") + bytes(12)
    record += bytes([10]) + b"secret.wav".ljust(63, b"\0") + bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    place = to.encode() + b"\0" * (len(to) % 2)
    record += struct.pack(">HH", 2, len(place)) + place + struct.pack(">hH", -1, 0)
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    content = path.read_bytes()
    before, old, after = content.partition(struct.pack(">I4sI", 12, b"url ", 1))
    assert old, "ffmpeg wrote another reference"
    longer = len(alias) - len(old)
    grown = bytearray(before)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = grown.rindex(name) - 4
        grown[at : at + 4] = struct.pack(">I", struct.unpack(">I", grown[at : at + 4])[0] + longer)
    return bytes(grown) + alias + after


async def test_a_file_that_refers_to_another_file_does_not_get_its_sound(tmp_path: Path) -> None:
    own, other = tmp_path / "own.mov", tmp_path / "secret.wav"
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "2", "-c:a", "pcm_s16le", own)
    other.write_bytes(await asyncio.to_thread(JFK_WAV.read_bytes))
    referring_file = tmp_path / "referring.mov"
    referring_file.write_bytes(await asyncio.to_thread(referring, own, str(other)))
    permissive = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-loglevel",
        "error",
        "-enable_drefs",
        "1",
        "-use_absolute_path",
        "1",
    ]
    heard = [*permissive, "-i", str(referring_file), "-f", "s16le", "-"]
    loud = await asyncio.to_thread(subprocess.run, heard, capture_output=True, check=True, timeout=60)
    assert any(loud.stdout), "the file does refer to the other one: whoever allows it hears that"
    audio = await FfmpegDecoder(max_media_s=20, timeout_s=20).decode(referring_file)
    assert not any(audio.pcm)


async def test_a_probe_that_does_not_end_is_ended(tmp_path: Path, speech_video: Path) -> None:
    with pytest.raises(Poison, match="takes more than"):
        await AvProber(timeout_s=0.01).probe(speech_video)


async def test_sound_that_hides_its_length_does_not_fill_the_memory(tmp_path: Path) -> None:
    honest, hiding = tmp_path / "honest.mka", tmp_path / "hiding.mka"
    ffmpeg("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "60", "-c:a", "libopus", honest)
    with av.open(str(honest)) as source, av.open(str(hiding), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream, packet.pts, packet.dts = stream, 0, 0
                target.mux_one(packet)
    assert (await PROBER.probe(hiding)).duration_ms < 1000
    assert (await FfmpegDecoder(max_media_s=5, timeout_s=20).decode(hiding)).duration_ms < 5100


async def test_the_decoder_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report.log"
    monkeypatch.setenv("FFREPORT", f"file={report}")  # ffmpeg obeys it where it finds it
    assert (await FfmpegDecoder(max_media_s=20, timeout_s=20).decode(JFK_WAV)).duration_ms == 11_000
    assert not report.exists()


class Site:
    """A web server on loopback, told for each path what to answer."""

    def __init__(self) -> None:
        self.answers: dict[str, Handler] = {}
        self.asked: list[str] = []
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        return await self.answers[request.path](request)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    async with web_site(made.answer) as made.port:
        yield made


def always(response: Callable[[], web.StreamResponse]) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return response()

    return answer


def fetcher(site: Site, *, allow: bool = True, max_bytes: int = 1_000_000, idle_s: float = 5.0) -> HttpFetcher:
    allowed = frozenset({f"127.0.0.1:{site.port}"}) if allow else frozenset[str]()
    return HttpFetcher(Reach(allowed), max_bytes=max_bytes, timeout_s=10, idle_s=idle_s)


async def test_a_file_is_fetched_over_redirects(site: Site, tmp_path: Path) -> None:
    site.answers = {
        "/old": always(lambda: web.Response(status=302, headers={"Location": "new?x=1"})),
        "/new": always(lambda: web.Response(body=b"media", content_type="video/mp4")),
    }
    fetched = await fetcher(site).fetch(site.url("/old"), tmp_path / "it")
    assert (tmp_path / "it").read_bytes() == b"media"
    assert fetched == Fetched(hashlib.sha256(b"media").hexdigest(), 5)
    assert site.asked == ["/old", "/new"]


async def test_a_proxy_of_the_environment_is_not_asked(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        site.answers = {"/it": always(lambda: web.Response(body=b"media", content_type="video/mp4"))}
        assert (await fetcher(site).fetch(site.url("/it"), tmp_path / "it")).size_bytes == 5


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (404, Poison, "nothing at this URL"),
        (410, Poison, "nothing at this URL"),
        (403, Poison, "does not give it out"),
        (500, Retryable, "no answer now"),
        (503, Retryable, "no answer now"),
    ],
)
async def test_a_servers_refusal_says_whether_to_come_back(
    site: Site, tmp_path: Path, status: int, error: type[Exception], reason: str
) -> None:
    site.answers = {"/it": always(lambda: web.Response(status=status))}
    with pytest.raises(error, match=reason):
        await fetcher(site).fetch(site.url("/it"), tmp_path / "it")


async def test_a_busy_server_says_when(site: Site, tmp_path: Path) -> None:
    site.answers = {"/it": always(lambda: web.Response(status=429, headers={"Retry-After": "7"}))}
    with pytest.raises(Retryable) as later:
        await fetcher(site).fetch(site.url("/it"), tmp_path / "it")
    assert later.value.retry_after_s == 7


async def test_a_server_cannot_put_a_share_off_for_years(site: Site, tmp_path: Path) -> None:
    site.answers = {"/it": always(lambda: web.Response(status=429, headers={"Retry-After": "9" * 30}))}
    with pytest.raises(Retryable) as later:
        await fetcher(site).fetch(site.url("/it"), tmp_path / "it")
    assert later.value.retry_after_s == 3600


async def test_a_web_page_is_not_media(site: Site, tmp_path: Path) -> None:
    site.answers = {"/it": always(lambda: web.Response(text="<html>", content_type="text/html"))}
    with pytest.raises(Poison, match="web page"):
        await fetcher(site).fetch(site.url("/it"), tmp_path / "it")


async def test_too_much_is_refused_when_announced_and_when_not(site: Site, tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(100_000))

    site.answers = {"/announced": always(lambda: web.Response(body=bytes(1001))), "/endless": endless}
    for path in site.answers:
        with pytest.raises(Poison, match="larger than"):
            await fetcher(site, max_bytes=1000).fetch(site.url(path), tmp_path / "it")


async def test_a_silent_a_broken_and_an_absent_server_are_tried_again(site: Site, tmp_path: Path) -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"only this")
        assert request.transport is not None
        request.transport.close()
        return response

    site.answers = {"/silent": silent, "/broken": broken}
    for path in site.answers:
        with pytest.raises(Retryable, match="does not answer"):
            await fetcher(site, idle_s=0.3).fetch(site.url(path), tmp_path / "it")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        absent = HttpFetcher(Reach(frozenset({host})), max_bytes=10, timeout_s=5, idle_s=5)
        with pytest.raises(Retryable, match="does not answer"):
            await absent.fetch(f"http://{host}/", tmp_path / "it")


async def test_redirects_have_an_end(site: Site, tmp_path: Path) -> None:
    site.answers = {"/loop": always(lambda: web.Response(status=302, headers={"Location": "/loop"}))}
    with pytest.raises(Poison, match="redirects more than 5 times"):
        await fetcher(site).fetch(site.url("/loop"), tmp_path / "it")


class NamesOfLoopback(AbstractResolver):
    """A name server in the hands of an attacker: every name is this machine, beside a public address."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in ("93.184.215.14", "127.0.0.1")
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "127.1",
        "0x7f.1",
        "0",
        "localhost",
        "rebound.example",
        # The URL's own reader takes these for names, the HTTP client for addresses that need no resolving.
        "\uff11\uff12\uff17.0.0.1",
        "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460",
        "127\u30020\u30020\u30021",
        "[::ffff:127.0.0.1%25lo]",
    ],
)
async def test_no_name_of_this_machine_is_ever_connected_to(site: Site, tmp_path: Path, host: str) -> None:
    site.answers = {"/secret": always(lambda: web.Response(body=b"secret"))}
    guarded = HttpFetcher(
        Reach(
            ports=frozenset({site.port}),
            resolver=NamesOfLoopback if host == "rebound.example" else ThreadedResolver,
        ),
        max_bytes=1000,
        timeout_s=5,
        idle_s=5,
    )
    with pytest.raises(Poison) as refused:
        await guarded.fetch(site.url("/secret", host), tmp_path / "it")
    assert "127.0.0.1" not in str(refused.value)
    assert site.asked == []


async def test_a_name_that_leads_elsewhere_too_is_not_connected_to_at_its_public_address_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_socket(address: AddrInfoType) -> socket.socket:
        raise AssertionError(f"{address} was about to be connected to")

    monkeypatch.setattr(http, "public_socket", no_socket)
    guarded = HttpFetcher(Reach(resolver=NamesOfLoopback), max_bytes=1000, timeout_s=5, idle_s=5)
    with pytest.raises(Poison, match="public internet addresses only"):
        await guarded.fetch("http://rebound.example/", tmp_path / "it")


async def test_a_redirect_to_what_is_no_url_ends_the_share(site: Site, tmp_path: Path) -> None:
    broken = {"/bracket": "http://[", "/port": "http://example.org:99999/", "/label": f"http://{'a' * 70}.example/"}
    for path, location in broken.items():
        headers = {"Location": location}
        site.answers[path] = always(partial(web.Response, status=302, headers=headers))
        with pytest.raises(Poison, match="not a URL"):
            await fetcher(site).fetch(site.url(path), tmp_path / "it")


async def test_a_redirect_from_an_allowed_host_is_checked_like_any_other(site: Site, tmp_path: Path) -> None:
    site.answers = {
        "/away": always(lambda: web.Response(status=302, headers={"Location": "http://localhost:8080/secret"})),
        "/cloud": always(lambda: web.Response(status=307, headers={"Location": "http://169.254.169.254/latest"})),
        "/file": always(lambda: web.Response(status=307, headers={"Location": "file:///etc/passwd"})),
    }
    for path in site.answers:
        with pytest.raises(Poison, match=r"public internet|only http"):
            await fetcher(site).fetch(site.url(path), tmp_path / "it")
