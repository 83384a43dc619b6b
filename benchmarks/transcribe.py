"""Transcription through Millrace beside faster-whisper by itself: `python -m benchmarks.transcribe [--json]`.

The same files, model and threads, in turn on the same machine, both models loaded and warm. Through Millrace means
from the broker's time of `media.ready` to that of `transcript.ready`: the media store, decoding, loudness, voice
detection, the grants of the ledger, the model, storing and publishing; the whole stack runs beside it. By itself
means `WhisperModel.transcribe(path)` with its defaults. One file is speech, of the other a part is silence.

Exit status: 1 when something was not transcribed. The last line is JSON: `ratio_vs_direct` and `ratio_silence` (time
through Millrace by time by itself, medians over the rounds), `ratio_billed` (billed sound by that of the file without
silence; on the one with it), word error rates where the words are known, all figures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.peers.kafka import times_of
from benchmarks.recordings import Recording, of_file, spoken, with_silence
from benchmarks.words import wer
from millrace.contracts.share_api import ShareRequest, ShareView
from tests.e2e.harness import Running, millrace_up

WITHIN_S: Final = 1800.0
ENVIRONMENT: Final = {"OPENAI_API_KEY": "", "MILLRACE_STT_BACKEND": "local", "MILLRACE_HARD_LIMIT_S": "3600"}


class Lost(Exception):
    """A recording came to nothing."""


@dataclass
class Found:
    """One file: seconds of each round, and what was heard in the last."""

    recording: Recording
    ours_s: list[float] = field(default_factory=list)
    direct_s: list[float] = field(default_factory=list)
    ours: str = ""
    direct: str = ""
    billed_s: float = 0.0

    def ratio(self) -> float:
        """Medians by one another."""
        return round(statistics.median(self.ours_s) / statistics.median(self.direct_s), 3)

    def figures(self) -> dict[str, object]:
        """Seconds, and words heard wrong."""
        words = self.recording.words
        return {
            "seconds_of_sound": round(self.recording.seconds, 1),
            "billed_s": round(self.billed_s, 1),
            "millrace_s": [round(one, 2) for one in self.ours_s],
            "direct_s": [round(one, 2) for one in self.direct_s],
            "realtime_factor": round(statistics.median(self.ours_s) / self.recording.seconds, 4),
            **({"wer": wer(words, self.ours), "wer_direct": wer(words, self.direct)} if words else {}),
        }


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


@contextmanager
def direct(model: str, threads: int) -> Iterator[subprocess.Popen[str]]:
    """faster-whisper in a process of its own."""
    argv = [sys.executable, "-m", "benchmarks.peers.direct_whisper", model, str(threads)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def heard_directly(process: subprocess.Popen[str], path: Path) -> tuple[float, str]:
    """Seconds and words."""
    if process.stdin is None or process.stdout is None:
        raise Lost("faster-whisper was started without pipes")
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise Lost("faster-whisper ended without an answer")
    found = json.loads(answer)
    return float(found["seconds"]), str(found["text"])


def heard_by_us(running: Running, path: Path) -> tuple[float, ShareView]:
    """Seconds from `media.ready` to `transcript.ready`, and the share."""
    with running.client() as client:
        share = client.upload(path, ShareRequest(title=path.stem)).share_id
        view = client.wait(share, within_s=WITHIN_S)
    if view.transcript is None or view.transcript.skipped_reason or not view.transcript.text:
        raise Lost(f"{path.name} was not transcribed: {[(one.stage, one.state, one.reason) for one in view.stages]}")
    kafka = running.addresses["kafka"]
    began, ended = (times_of(kafka, topic, share) for topic in ("media.ready", "transcript.ready"))
    return ended - began, view


def measure(
    running: Running, process: subprocess.Popen[str], files: dict[str, Found], folder: Path, turn: int
) -> None:
    """One round: each file by both, who is first changes."""
    for name, found in files.items():
        path = folder / f"{name}-{turn}.wav"
        found.recording.write(path, more=turn)
        for who in ("direct", "ours") if turn % 2 else ("ours", "direct"):
            if who == "ours":
                seconds, view = heard_by_us(running, path)
                transcript = view.transcript
                found.ours_s.append(seconds)
                found.ours = transcript.text if transcript else ""
                found.billed_s = billed_s(running, view.share_id)
            else:
                seconds, found.direct = heard_directly(process, path)
                found.direct_s.append(seconds)
        path.unlink()
        say(f"  {name:8} Millrace {found.ours_s[-1]:6.2f} s, faster-whisper {found.direct_s[-1]:6.2f} s")


def billed_s(running: Running, share: str) -> float:
    """Seconds of sound that the transcript says were billed."""
    (row,) = running.sql(
        "SELECT (result->>'billed_ms')::bigint AS ms FROM work JOIN jobs USING (work_key) "
        "WHERE share_id = %s AND jobs.stage = 'transcribe'",
        share,
    )
    return int(str(row["ms"])) / 1000


def run(chosen: argparse.Namespace) -> dict[str, object]:
    """All rounds."""
    recording = of_file(chosen.speech, chosen.words) if chosen.speech else spoken(chosen.seconds)
    silent = with_silence(recording, chosen.silence)
    files = {"speech": Found(recording), "silence": Found(silent)}
    say(f"speech of {recording.seconds:.0f} s ({recording.source}), and of {silent.seconds:.0f} s with silence")
    environment = {
        **ENVIRONMENT,
        "MILLRACE_WHISPER_MODEL": chosen.model,
        "MILLRACE_WHISPER_THREADS": str(chosen.threads),
    }
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        with millrace_up(folder, environment) as running, direct(chosen.model, chosen.threads) as process:
            warm = spoken(5.0)
            warm.write(folder / "warm.wav", more=0)
            heard_by_us(running, folder / "warm.wav")
            heard_directly(process, folder / "warm.wav")
            for number in range(chosen.rounds):
                say(f"round {number + 1} of {chosen.rounds}, load {os.getloadavg()[0]:.1f}")
                measure(running, process, files, folder, number + 1)
    return report(files, chosen)


def report(files: dict[str, Found], chosen: argparse.Namespace) -> dict[str, object]:
    """The last line."""
    speech, silence = files["speech"], files["silence"]
    return {
        "ratio_vs_direct": speech.ratio(),
        "ratio_silence": silence.ratio(),
        "ratio_billed": round(silence.billed_s / silence.recording.seconds, 3),
        **{name: found.figures() for name, found in files.items()},
        "source": speech.recording.source,
        "silent_share": chosen.silence,
        "model": chosen.model,
        "threads": chosen.threads,
        "rounds": chosen.rounds,
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
    }


def main() -> int:
    """0: measured. 1: something was not transcribed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--json", action="store_true", help="progress and the last line, no table")
    arguments.add_argument("--rounds", type=int, default=3, help="of both files by both in turn [3]")
    arguments.add_argument("--seconds", type=float, default=330.0, help="length of the speech [330]")
    arguments.add_argument("--silence", type=float, default=0.4, help="share of the other file that is silent [0.4]")
    arguments.add_argument("--speech", type=Path, help="your own speech instead (WAV, 16 kHz, mono)")
    arguments.add_argument("--words", type=Path, help="its words, for error rates")
    arguments.add_argument("--model", default="tiny.en", help="of faster-whisper [tiny.en, which is bundled]")
    arguments.add_argument("--threads", type=int, default=2, help="of the model [2]")
    chosen = arguments.parse_args()
    try:
        figures = run(chosen)
    except Lost as exc:
        say(str(exc))
        return 1
    if not chosen.json:
        for name, value in figures.items():
            say(f"{name:16} {value}")
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
