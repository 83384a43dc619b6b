"""Looks into media by PyAV in a child process, which a hostile file may crash, fill or stall at no one's cost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel, ValidationError

from millrace.errors import Poison, Retryable
from millrace.media import FORMATS
from millrace.sealed import run_sealed
from millrace.telemetry.fetching import note_seal
from services.media_agent.domain import Probe

_CHILD = Path(__file__).with_name("probe_child.py")
_NOT_MEDIA_STATUS = 3  # as in probe_child.py, which this process does not import: PyAV stays out of it
_NOT_MEDIA = "this is not a media file, or one of a kind that is not known here"


class _Answer(BaseModel):
    kernel: int
    format: str
    duration_ms: int
    audio_codec: str | None
    video_codec: str | None
    tags: dict[str, str]


class AvProber:
    """Probes in a child process of its own; implements `Prober`."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s

    async def probe(self, path: Path) -> Probe:
        """Start a child (about 0.2 s) and read its answer."""
        argv = (sys.executable, "-I", str(_CHILD), str(path), ",".join(FORMATS), str(self._timeout_s))
        try:
            ended = await run_sealed(argv, timeout_s=self._timeout_s)
        except TimeoutError as exc:
            raise Poison(f"looking into this file takes more than {self._timeout_s:.0f} s") from exc
        if ended.status == _NOT_MEDIA_STATUS:
            raise Poison(_NOT_MEDIA)
        if ended.status != 0:
            raise Retryable(f"looking into this file ended with status {ended.status}")
        return _probe(ended.output)


def _probe(out: bytes) -> Probe:
    try:
        answer = _Answer.model_validate(json.loads(out))
    except (ValueError, ValidationError) as exc:
        raise Retryable("looking into this file gave no answer that can be read") from exc
    note_seal("probe", answer.kernel)
    return Probe(
        format=answer.format,
        duration_ms=answer.duration_ms,
        audio_codec=answer.audio_codec,
        video_codec=answer.video_codec,
        tags=answer.tags,
    )
