"""`millrace demo`: the whole way of a video and of an article, on this machine, with real speech and real models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from millrace.cli.budget import table as budget_table
from millrace.cli.client import Client
from millrace.cli.console import console
from millrace.cli.exits import FAILED, one_sentence
from millrace.cli.search import show as show_hits
from millrace.cli.share import follow
from millrace.cli.view import share_report
from millrace.contracts.api import ShareRequest, ShareView
from millrace.embedded.paths import default_data
from millrace.embedded.signals import until_signal
from millrace.embedded.up import UpOptions, everything
from millrace.errors import MillraceError
from millrace.testing.media import ARTICLE, JFK_WAV

QUESTION = "what can you do for your country"


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds everything; the user's data folder by default")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the gateway; a free one by default")
    ] = None,
) -> None:
    """Start everything, share a short video and an article, show what comes of them."""
    options = UpOptions(data=(data or default_data()).absolute(), port=port)
    with one_sentence():
        views: list[ShareView] = []
        asyncio.run(until_signal(_run(options, views, stay=sys.stdin.isatty())))
        if len(views) < 2 or any(view.state == "failed" for view in views):
            raise typer.Exit(FAILED)


async def _run(options: UpOptions, views: list[ShareView], *, stay: bool) -> None:
    async with everything(options, typer.echo) as ready:
        url = ready.addresses.gateway
        # The client is plain blocking code; the loop goes on looking after the services meanwhile.
        await asyncio.to_thread(_show, url, views)
        if stay:
            typer.echo(f"\nMillrace stays up at {url} (API: {url}/docs). Ctrl-C stops it.")
            await asyncio.Event().wait()


def _show(url: str, views: list[ShareView]) -> None:
    with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder, Client(url) as client:
        video = make_video(Path(folder))
        typer.echo(f"\nSharing {video.name} (real speech, 11 s) and {ARTICLE.name}")
        title = "Inaugural address, 1961 (excerpt)"
        spoken = client.upload(video, ShareRequest(title=title), progress=lambda *_: None)
        written = client.add(
            ShareRequest(text=ARTICLE.read_text(), title="What a millrace is", content_type="article")
        )
        for accepted in (spoken, written):
            view = follow(client, accepted.share_id, quiet=not sys.stdout.isatty())
            views.append(view)
            console.print()
            console.print(share_report(view))
        console.print()
        show_hits(client.search(QUESTION, limit=3))
        console.print()
        console.print(budget_table(client.budget().rows))


def make_video(folder: Path) -> Path:
    """An MP4 with the speech as sound and its waveform as picture.

    :raises MillraceError: ffmpeg does not run here.
    """
    import imageio_ffmpeg  # noqa: PLC0415 - only the demo needs it, and importing it looks for a binary

    video = folder / "jfk-with-picture.mp4"
    picture = "[0:a]showwaves=s=640x360:mode=cline:colors=steelblue,format=yuv420p[v]"
    made = subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-i", str(JFK_WAV)),
            *("-filter_complex", picture, "-map", "[v]", "-map", "0:a", "-preset", "ultrafast", str(video)),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if made.returncode != 0:
        raise MillraceError(f"ffmpeg could not make the demo's video: {made.stderr.strip()[-300:]}")
    return video
