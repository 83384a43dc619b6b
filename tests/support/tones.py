"""A language of tones, in which every word can be told from every other: for tests of what is cut and joined.

A word is 300 ms of two frequencies that say its number. Ears decode it from the sound that really arrived.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
WORD_MS, GAP_MS = 300, 60
_LOW, _HIGH, _STEP, _TONES = 300, 2000, 25, 64  # Hz; 64 * 64 words
_FRAME = RATE // 50  # 20 ms
_QUIET = 0.02


def spoken(numbers: list[int], *, gap_ms: int = GAP_MS) -> NDArray[np.int16]:
    """The sound of words, one after another with gaps between."""
    at = np.arange(WORD_MS * RATE // 1000) / RATE
    fade = np.minimum(1, np.minimum(at, at[::-1]) / 0.01)
    gap = np.zeros(gap_ms * RATE // 1000)
    parts = []
    for number in numbers:
        low, high = _LOW + number % _TONES * _STEP, _HIGH + number // _TONES * _STEP
        parts += [0.25 * fade * (np.sin(2 * np.pi * low * at) + np.sin(2 * np.pi * high * at)), gap]
    sound: NDArray[np.int16] = np.rint(np.concatenate(parts) * 32767).astype(np.int16)
    return sound


def heard(samples: NDArray[np.float32], *, least_ms: int = 120) -> list[tuple[int, int, int]]:
    """The words in a sound: number, start and end in milliseconds. A part of one counts from `least_ms` on."""
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loud = np.concatenate([[0], (np.sqrt((frames * frames).mean(axis=1)) > _QUIET).astype(int), [0]])
    starts, ends = np.flatnonzero(np.diff(loud) == 1), np.flatnonzero(np.diff(loud) == -1)
    found = []
    for start, end in zip(starts * _FRAME, ends * _FRAME, strict=True):
        if end - start >= least_ms * RATE // 1000:
            found.append((_number(samples[start:end]), int(start) * 1000 // RATE, int(end) * 1000 // RATE))
    return found


def _number(samples: NDArray[np.float32]) -> int:
    size = RATE  # padded, so that a bin is 1 Hz
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size))
    low = int(spectrum[_LOW - 12 : _LOW + _TONES * _STEP].argmax()) - 12
    high = int(spectrum[_HIGH - 12 : _HIGH + _TONES * _STEP].argmax()) - 12
    return round(low / _STEP) + round(high / _STEP) * _TONES
