"""What cutting long speech into chunks costs in errors: `python -m benchmarks.chunks [--json]`.

Each file is speech of several voices of espeak-ng that take turns, other words and voices a file. It goes through
the transcribe agent's own handler (decoding, loudness, voice detection, chunks, seams) to an API that speaks OpenAI's
protocol over HTTP, with faster-whisper and its defaults behind it: once in chunks as the agent cuts them, once in one
piece. Nothing else differs. It says how many words are heard wrong; how long it takes is not compared.

Exit status: 1 when espeak-ng is missing or something was not transcribed. The last line is JSON: `files` (seconds,
calls in chunks, word error rates in per cent), and both rates over all files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from benchmarks.peers.whisper_api import serve_whisper
from benchmarks.recordings import Recording, read_aloud
from benchmarks.relevance import load
from benchmarks.turns import conversations, readable
from benchmarks.words import wer, wer_in_sum
from millrace.models.child.pool import Care, ChildPool, open_children
from millrace.models.choice import Models
from millrace.models.openai_api import open_client
from millrace.models.tariffs import PerMinute
from millrace.store.blobs import LocalBlobStore
from millrace.testing.run import FakeRun
from millrace.testing.samples import media_ready
from services.transcribe_agent.adapters.api import ApiTranscriber
from services.transcribe_agent.adapters.ffmpeg import FfmpegDecoder
from services.transcribe_agent.adapters.whisper import SileroDetector, silero_recipe
from services.transcribe_agent.chunks import Chunk, overlapping_chunks
from services.transcribe_agent.domain import SILENT_DB
from services.transcribe_agent.handler import TranscribeHandler
from services.transcribe_agent.speech import Speech

_PAUSE_MS: Final = 300
_ANSWER_S, _LONGEST_S = 3600.0, 7200
_PRICE: Final = Decimal("0.006")  # dollars a minute: what is held needs some price


class Lost(Exception):
    """A file was not transcribed, or not as it should be."""


class WholeTranscriber(ApiTranscriber):
    """Listens to everything in one call."""

    def chunks(self, speech: Speech) -> list[Chunk]:
        """One."""
        return overlapping_chunks(speech, most_ms=speech.duration_ms + 1, overlap_ms=0)


@dataclass(frozen=True)
class Found:
    """One file: its words, what was heard of them in so many chunks, and what in one piece."""

    seconds: float
    words: str
    chunks: int
    in_chunks: str
    whole: str

    def figures(self) -> dict[str, object]:
        """Its part of the last line."""
        return {
            "seconds": round(self.seconds, 1),
            "chunks": self.chunks,
            "wer_chunks": wer(self.words, self.in_chunks),
            "wer_whole": wer(self.words, self.whole),
        }


def report(files: list[Found]) -> dict[str, object]:
    """The last line."""
    return {
        "files": [one.figures() for one in files],
        "wer_chunks": wer_in_sum([(one.words, one.in_chunks) for one in files]),
        "wer_whole": wer_in_sum([(one.words, one.whole) for one in files]),
    }


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@dataclass(frozen=True)
class Bench:
    """What both ways share: the media store, the detector's child, and both transcribers."""

    store: LocalBlobStore
    detectors: ChildPool
    in_chunks: ApiTranscriber
    whole: WholeTranscriber

    async def heard(self, key: str, recording: Recording, transcriber: ApiTranscriber) -> tuple[str, int]:
        """The transcript of a recording in the store, and how many calls it took.

        :raises Lost: there is none.
        """
        handler = TranscribeHandler(
            blobs=self.store,
            decoder=FfmpegDecoder(max_media_s=_LONGEST_S, timeout_s=300),
            detector=SileroDetector(self.detectors),
            transcribers=Models(transcriber.model, transcriber),
            silent_db=SILENT_DB,
            pause_ms=_PAUSE_MS,
        )
        media = media_ready(blob_key=key, duration_ms=round(recording.seconds * 1000))
        plan, run, started = handler.plan(media, {}), FakeRun(), time.perf_counter()
        if plan is None:
            raise Lost("the handler does not take media")
        result = await handler.work(plan, run)
        if not result.text:
            raise Lost(f"nothing was heard in {key}")
        say(f"  {key}: {len(run.calls)} calls, {time.perf_counter() - started:.0f} s")
        return result.text, len(run.calls)

    async def measure(self, name: str, recording: Recording, folder: Path) -> Found:
        """One file in both ways."""
        path = folder / name
        await asyncio.to_thread(recording.write, path, more=0)
        await self.store.put_file(name, path)
        text, chunks = await self.heard(name, recording, self.in_chunks)
        whole, calls = await self.heard(name, recording, self.whole)
        if calls != 1:
            raise Lost(f"one piece of {name} took {calls} calls")
        return Found(recording.seconds, recording.words, chunks, text, whole)


@asynccontextmanager
async def bench(url: str, folder: Path) -> AsyncIterator[Bench]:
    """With an API at a base URL."""
    client = open_client(base_url=url, key=SecretStr("none"), timeout_s=_ANSWER_S)
    async with client, open_children(silero_recipe(pause_ms=_PAUSE_MS), Care()) as detectors:
        yield Bench(
            LocalBlobStore(folder / "store"),
            detectors,
            ApiTranscriber(client, model="whisper-1", tariff=PerMinute(_PRICE)),
            WholeTranscriber(client, model="whisper-1", tariff=PerMinute(_PRICE)),
        )


async def run(chosen: argparse.Namespace) -> list[Found]:
    """All files, one after another.

    :raises ValueError: more speech is asked for than there are sentences.
    """
    texts = readable([document.text for document in load().documents])
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as name,
        serve_whisper(chosen.model, chosen.threads) as url,
    ):
        async with bench(url, Path(name)) as made:
            for number, turns in enumerate(conversations(texts, seconds=chosen.seconds, files=chosen.files), start=1):
                recording = await asyncio.to_thread(read_aloud, turns)
                words = len(recording.words.split())
                say(f"file {number}: {recording.seconds:.0f} s, {words} words, {len(turns)} turns")
                found.append(await made.measure(f"speech-{number}.wav", recording, Path(name)))
    return found


def main() -> int:
    """0: measured. 1: espeak-ng is missing, or a file was not transcribed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="progress and the last line, no table")
    arguments.add_argument("--seconds", type=float, default=1500.0, help="length of each file, about [1500]")
    arguments.add_argument("--files", type=int, default=2, help="of other words and voices each [2]")
    arguments.add_argument("--model", default="tiny.en", help="of faster-whisper [tiny.en, which is bundled]")
    arguments.add_argument("--threads", type=int, default=2, help="of the model [2]")
    chosen = arguments.parse_args()
    if shutil.which("espeak-ng") is None:
        say("espeak-ng is missing: install it (Debian: apt install espeak-ng), it reads the texts aloud")
        return 1
    try:
        figures = report(asyncio.run(run(chosen)))
    except (Lost, ValueError) as exc:
        say(str(exc))
        return 1
    if not chosen.json:
        for name, value in figures.items():
            say(f"{name:16} {value}")
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
