"""A web site with videos: real media made by ffmpeg, served over real HTTP, and every byte counted."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import imageio_ffmpeg
from aiohttp import web

from tests.support.site import site

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TYPES = {
    ".html": "text/html",
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4s": "video/iso.segment",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpd": "application/dash+xml",
    ".ts": "video/mp2t",
    ".wav": "audio/wav",
}
PIECE = 65_536


def ffmpeg(*arguments: str | Path) -> None:
    """Run ffmpeg; its errors end the test."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, timeout=60)


def make_videos(folder: Path) -> Path:
    """Six seconds of picture and sound: `video.mp4`, and as HLS and DASH (`video.m3u8`, `video.mpd`)."""
    video = folder / "video.mp4"
    picture = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=5:d=6")
    ffmpeg(*picture, "-f", "lavfi", "-i", "sine=d=6", "-g", "10", "-c:v", "libx264", "-c:a", "aac", video)
    ffmpeg("-i", video, "-c", "copy", "-hls_time", "2", "-hls_list_size", "0", folder / "video.m3u8")
    ffmpeg("-i", video, "-c", "copy", "-f", "dash", folder / "video.mpd")
    return folder


@dataclass
class MediaSite:
    """Answers with `answers` first, then with the files of a folder."""

    folder: Path
    answers: dict[str, Handler | str | bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    chunked: bool = False
    port: int = 0

    @property
    def place(self) -> str:
        """As it stands in `MILLRACE_FETCH_ALLOW`."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.place}{path}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        kind = TYPES.get(Path(request.path).suffix, "application/octet-stream")
        match self.answers.get(request.path):
            case None:
                file = self.folder / request.path[1:]
                if not file.is_file():
                    return web.Response(status=404)
                return await self._send(request, await asyncio.to_thread(file.read_bytes), kind)
            case str() as text:
                return await self._send(request, text.replace("{site}", self.place).encode(), kind)
            case bytes() as content:
                return await self._send(request, content, kind)
            case handler:
                return await handler(request)

    async def _send(self, request: web.Request, content: bytes, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        if not self.chunked:
            response.content_length = len(content)
        await response.prepare(request)
        for start in range(0, len(content), PIECE):
            piece = content[start : start + PIECE]
            await response.write(piece)
            self.sent += len(piece)
        return response


@asynccontextmanager
async def media_site(folder: Path) -> AsyncIterator[MediaSite]:
    """Serve a folder on loopback."""
    made = MediaSite(folder)
    async with site(made.serve) as made.port:
        yield made
