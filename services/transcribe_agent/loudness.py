"""How loud sound is, and one loudness for all of it. Pure.

Loudness is that of EBU R 128, the target the -16 LUFS that podcasts have: one gain for the whole recording, so that
nothing in it changes but its level. ffmpeg's `ebur128` measures it while it decodes: there is no second pass.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.transcribe_agent.domain import SAMPLE_RATE

TARGET_LUFS: Final = -16.0
FLOOR_DB: Final = -120.0
_SILENT_LUFS = -70.0  # the absolute gate of EBU R 128: below, nothing was measured
_FULL_SCALE = 32768.0
_INTEGRATED = re.compile(rb"Integrated loudness:\s+I:\s+(-?\d+(?:\.\d+)?) LUFS")

Samples = NDArray[np.int16]
"""16 kHz mono, shape (samples,)."""


def measured_lufs(report: bytes) -> float | None:
    """Integrated loudness by the summary that ffmpeg's filter ebur128 writes; None when it measured nothing.

    The summary comes last, behind what a file says about itself.
    """
    found = _INTEGRATED.findall(report)
    return float(found[-1]) if found and float(found[-1]) > _SILENT_LUFS else None


def gain_db(lufs: float | None) -> float:
    """The gain that brings sound to the target; 0 for sound that was not measured."""
    return 0.0 if lufs is None else TARGET_LUFS - lufs


def as_floats(pcm: bytes, gain: float) -> NDArray[np.float32]:
    """Samples with a gain in dB, full scale at 1, shape (samples,). Floats go beyond full scale unharmed."""
    return np.frombuffer(pcm, dtype="<i2") * np.float32(10 ** (gain / 20) / _FULL_SCALE)


def loudest_second_db(samples: Samples) -> float:
    """RMS level of the loudest second in dBFS. No sound: -120."""
    level = 0.0
    for start in range(0, len(samples), SAMPLE_RATE):
        second = samples[start : start + SAMPLE_RATE].astype(np.float64) / _FULL_SCALE
        level = max(level, float(np.sqrt(np.mean(second * second))))
    return max(FLOOR_DB, _db(level)) if level > 0 else FLOOR_DB


def _db(level: float) -> float:
    return 20 * float(np.log10(level))
