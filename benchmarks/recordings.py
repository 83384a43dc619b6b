"""Recordings to transcribe: speech as long as it is wanted, and the same with silence in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from benchmarks.turns import Turn
from millrace.testing.media import ARTICLE, JFK_WAV
from services.transcribe_agent.chunks import quietest_ms
from services.transcribe_agent.domain import Audio

RATE: Final = 16_000
_GAP_S, _SILENCE_S = 0.5, 15.0
_VOICES: Final = ("en-us", "en-gb", "en-us+f3", "en-gb+m3")
_STORY: Final = Path(__file__).with_name("the-mill.txt")
JFK_WORDS: Final = (
    "And so, my fellow Americans, ask not what your country can do for you; ask what you can do for your country."
)

Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Recording:
    """16 kHz mono, the words in it, and where it comes from."""

    samples: Samples
    words: str
    source: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / RATE

    def write(self, path: Path, more: int) -> None:
        """As WAV, with `more` samples of silence behind, so that no two rounds have the same content."""
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE)
            out.writeframes(np.concatenate([self.samples, np.zeros(more, dtype=np.int16)]).tobytes())


def spoken(seconds: float) -> Recording:
    """At least so long, by espeak-ng where it is installed, or else one real sentence again and again.

    Of the real sentence Whisper believes that it repeats itself, and listens to it several times; that takes it many
    times longer, and only tells how it deals with repetition.
    """
    if shutil.which("espeak-ng") is None:
        one = _read(JFK_WAV)
        return _repeated([(one, JFK_WORDS)], seconds, "one sentence repeated: install espeak-ng for other words")
    paragraphs = [text for text in _texts().split("\n\n") if len(text.split()) > 4]
    parts = [
        (_said(text, _VOICES[number % len(_VOICES)], 130 + 7 * (number % 5)), text)
        for number, text in enumerate(paragraphs)
    ]
    return _repeated(parts, seconds, "espeak-ng")


def read_aloud(turns: Sequence[Turn]) -> Recording:
    """Each turn by its voice of espeak-ng, with half a second between them.

    :raises FileNotFoundError: espeak-ng is not installed.
    """
    parts = [(_said(turn.text, turn.voice, turn.words_a_minute), turn.text) for turn in turns]
    return _joined(parts, "espeak-ng")


def of_file(path: Path, words: Path | None) -> Recording:
    """A person's own recording (WAV, 16 kHz, mono), and its words if they are known."""
    return Recording(_read(path), words.read_text(encoding="utf-8") if words else "", path.name)


def with_silence(recording: Recording, share: float) -> Recording:
    """The same words with silence between them, which takes such a share of the whole."""
    silent = int(len(recording.samples) * share / (1 - share))
    gaps = max(1, round(silent / RATE / _SILENCE_S))
    quiet = np.random.default_rng(1).integers(-3, 4, silent // gaps).astype(np.int16)  # a microphone's, of -80 dBFS
    sound, step = Audio(recording.samples.tobytes(), 0.0), len(recording.samples) * 1000 // RATE // gaps
    cuts = [quietest_ms(sound, n * step - 2000, n * step) * RATE // 1000 for n in range(1, gaps)]
    pieces = [part for piece in np.split(recording.samples, cuts) for part in (piece, quiet)]
    return Recording(np.concatenate(pieces), recording.words, recording.source)


def _repeated(parts: list[tuple[Samples, str]], seconds: float, source: str) -> Recording:
    taken: list[tuple[Samples, str]] = []
    length_s = 0.0
    for sound, text in cycle(parts):
        taken.append((sound, text))
        length_s += len(sound) / RATE + _GAP_S
        if length_s >= seconds:
            break
    return _joined(taken, source)


def _joined(parts: Sequence[tuple[Samples, str]], source: str) -> Recording:
    gap = np.zeros(int(_GAP_S * RATE), dtype=np.int16)
    samples = np.concatenate([piece for sound, _ in parts for piece in (sound, gap)])
    return Recording(samples, " ".join(text for _, text in parts), source)


def _said(text: str, voice: str, words_a_minute: int) -> Samples:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "said.wav")
        subprocess.run(
            ["espeak-ng", "-v", voice, "-s", str(words_a_minute), "-w", str(path)], input=text.encode(), check=True
        )
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path)]
        form = ["-ac", "1", "-ar", str(RATE), "-f", "s16le", "-"]
        raw = subprocess.run([*ffmpeg, *form], check=True, capture_output=True).stdout
    return np.frombuffer(raw, dtype="<i2")


def _texts() -> str:
    """Five minutes of reading in which nothing is said twice: a model that remembers would have an easier time."""
    return "\n\n".join(path.read_text(encoding="utf-8") for path in (ARTICLE, _STORY))


def _read(path: Path) -> Samples:
    with wave.open(str(path)) as sound:
        if (sound.getnchannels(), sound.getframerate(), sound.getsampwidth()) != (1, RATE, 2):
            sys.exit(f"{path} is not a WAV of 16 kHz mono, 16 bits")
        return np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
