"""Sound out of media files, by an ffmpeg child process: a hostile file can at worst end the child."""

from __future__ import annotations

import asyncio
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from millrace.errors import Poison, Retryable
from millrace.media import FORMATS
from millrace.sealed import run_sealed
from services.transcribe_agent.domain import BYTES_PER_SAMPLE, SAMPLE_RATE, Audio

_FLOOR_DB = -120.0
_FULL_SCALE = 32768.0


class FfmpegDecoder:
    """Decodes the first audio stream; implements `Decoder`."""

    def __init__(self, *, max_media_s: int, timeout_s: float) -> None:
        self._max_media_s = max_media_s
        self._timeout_s = timeout_s
        self._ffmpeg = str(imageio_ffmpeg.get_ffmpeg_exe())

    async def decode(self, path: Path) -> Audio:
        """Decode at most `max_media_s` seconds within `timeout_s`."""
        try:
            ended = await run_sealed(self._command(path), timeout_s=self._timeout_s)
        except TimeoutError as exc:
            raise Poison(f"decoding the sound of this media takes more than {self._timeout_s:.0f} s") from exc
        if ended.status < 0:
            raise Retryable(f"ffmpeg was ended by signal {-ended.status} while decoding")
        if ended.status:
            raise Poison("the sound of this media cannot be decoded: it may be damaged")
        return await asyncio.to_thread(_audio, ended.output)

    def _command(self, path: Path) -> list[str]:
        # The lists keep a playlist in disguise from reading other files or reaching out to the network.
        sealed = ["-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(FORMATS)]
        # -t goes by time stamps, which a file may make up: one with all its packets at 0 s would fill the memory.
        most = ["-t", str(self._max_media_s), "-fs", str(self._max_media_s * SAMPLE_RATE * BYTES_PER_SAMPLE)]
        what = ["-map", "0:a:0", "-vn", "-sn", "-dn", *most]
        form = ["-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-c:a", "pcm_s16le"]
        common = [self._ffmpeg, "-nostdin", "-hide_banner", "-loglevel", "error", "-threads", "1"]
        return [*common, *sealed, "-i", f"file:{path}", *what, *form, "pipe:1"]


def _audio(pcm: bytes) -> Audio:
    return Audio(pcm, loudest_db=loudest_second_db(np.frombuffer(pcm, dtype="<i2")))


def loudest_second_db(samples: NDArray[np.int16]) -> float:
    """RMS level of the loudest second in dBFS; `samples` are 16 kHz mono, shape (n,). No sound: -120."""
    level = 0.0
    for start in range(0, len(samples), SAMPLE_RATE):
        second = samples[start : start + SAMPLE_RATE].astype(np.float64) / _FULL_SCALE
        level = max(level, float(np.sqrt(np.mean(second * second))))
    return max(_FLOOR_DB, 20 * float(np.log10(level))) if level > 0 else _FLOOR_DB
