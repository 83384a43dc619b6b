"""`millrace demo`: the whole way of a video and of an article, on this machine, with real speech and real models."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from millrace.cli.budget import budget_report
from millrace.cli.client import Client
from millrace.cli.console import Report, print_json, reporter, show
from millrace.cli.exits import FAILED, INTERRUPTED, one_sentence
from millrace.cli.search import hits
from millrace.cli.share import follow
from millrace.cli.up import DataOption, PortOption, whereabouts
from millrace.cli.view import share_report
from millrace.contracts.budget_api import BudgetAnswer
from millrace.contracts.search_api import SearchAnswer
from millrace.contracts.share_api import ShareRequest, ShareView
from millrace.embedded.paths import default_data
from millrace.embedded.readyfile import Ready
from millrace.embedded.signals import until_signal
from millrace.embedded.up import UpOptions, everything
from millrace.errors import MillraceError
from millrace.money import MicroUSD, format_usd
from millrace.testing.media import ARTICLE, JFK_WAV

QUESTION = "what can you do for your country"


class DemoReport(BaseModel):
    """What came of the demonstration; with `--json` this is printed."""

    shares: list[ShareView]
    search: SearchAnswer
    budget: BudgetAnswer


def demo(
    data: DataOption = None,
    port: PortOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and end; progress goes to stderr")
    ] = False,
) -> None:
    """Share a video and an article, and show what comes of them.

    Starts everything that `up` starts; at a terminal it stays up until Ctrl-C.
    """
    options = UpOptions(data=(data or default_data()).absolute(), port=port)
    outcomes: list[DemoReport] = []
    with one_sentence():
        stay = sys.stdin.isatty() and not as_json
        asyncio.run(until_signal(_run(options, outcomes, as_json=as_json, stay=stay)))
        reporter(as_json=as_json)("stopped")
    if not outcomes:
        raise typer.Exit(INTERRUPTED)
    if any(view.state != "done" for view in outcomes[0].shares):
        raise typer.Exit(FAILED)


async def _run(options: UpOptions, outcomes: list[DemoReport], *, as_json: bool, stay: bool) -> None:
    report = reporter(as_json=as_json)
    async with everything(options, report) as ready:
        # The client is plain blocking code; the loop goes on looking after the services meanwhile.
        outcome = await asyncio.to_thread(demonstrate, ready, report, as_json=as_json)
        outcomes.append(outcome)
        if stay:
            typer.echo("")
            for line in whereabouts(ready, options.data):
                typer.echo(line)
            typer.echo('Try, elsewhere: .venv/bin/millrace search "who opened the gate at night"')
            await asyncio.Event().wait()


def demonstrate(ready: Ready, report: Report, *, as_json: bool) -> DemoReport:
    """Share both by the gateway of what is ready, follow them and ask for them; shown as it comes. Blocking."""
    gateway = Client(ready.addresses.gateway, token=ready.token)
    with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder, gateway as client:
        video = make_video(Path(folder))
        report(f"\nSharing {video.name} (real speech, 11 s) and {ARTICLE.name}")
        title = "Inaugural address, 1961"
        spoken = client.upload(video, ShareRequest(title=title))
        written = client.add(
            ShareRequest(text=ARTICLE.read_text(), title="What a millrace is", content_type="article")
        )
        views: list[ShareView] = []
        for accepted in (spoken, written):
            views.append(follow(client, accepted.share_id, report=None if as_json else report))
            if not as_json:
                show("", share_report(views[-1]))
        outcome = DemoReport(shares=views, search=client.search(QUESTION, limit=3), budget=client.budget())
    if as_json:
        print_json(outcome)
    else:
        show("", hits(outcome.search), "", budget_report(outcome.budget), "", reckoning(views))
    return outcome


def reckoning(views: Sequence[ShareView]) -> str:
    """One paragraph on what ran where and what it cost, from the receipts."""
    granted = [receipt for view in views for receipt in view.receipts if receipt.state == "settled"]
    reused = sum(receipt.reused for receipt in granted)
    paid = MicroUSD(sum(view.cost_micro_usd for view in views))
    remote = any("api" in _backends(view) for view in views)
    where = "Some models were asked over the network" if remote else "Everything ran on this machine"
    money = "nothing was paid" if paid == 0 else f"{format_usd(paid)} was spent"
    calls = len({receipt.request_id for receipt in granted if not receipt.reused})
    if calls:
        ledger = f"The cost ledger granted each of the {calls} model calls before it was made"
    else:
        ledger = "No model was called"
    again = f"; {reused} results were reused from earlier shares of the same content" if reused else ""
    return f"{where} and {money}. {ledger}{again}."


def _backends(view: ShareView) -> set[str]:
    results = (view.transcript, view.summary, view.embedding)
    return {result.backend for result in results if result is not None}


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
