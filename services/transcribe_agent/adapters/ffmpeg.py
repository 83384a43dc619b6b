"""Sound out of media files, and into the form that APIs take, by an ffmpeg child process.

A hostile file can at worst end the child.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from millrace.errors import Poison, Retryable
from millrace.media import FORMATS
from millrace.sealed import run_sealed
from services.transcribe_agent.domain import BYTES_PER_SAMPLE, SAMPLE_RATE, Audio
from services.transcribe_agent.loudness import gain_db, loudest_second_db, measured_lufs

_QUIET = ["-nostdin", "-hide_banner", "-nostats", "-threads", "1"]
_RAW = ["-f", "s16le", "-ac", "1", "-ar", str(SAMPLE_RATE)]
_OPUS_BITS = 32_000
"""Bits a second: above what speech of 8 kHz bandwidth gains from (RFC 7587, 3.1.1); ten minutes are 2.4 MB."""
_ENCODE_S = 120.0


class FfmpegDecoder:
    """Decodes the first audio stream; implements `Decoder`."""

    def __init__(self, *, max_media_s: int, timeout_s: float) -> None:
        self._max_media_s = max_media_s
        self._timeout_s = timeout_s

    async def decode(self, path: Path) -> Audio:
        """Decode at most `max_media_s` seconds within `timeout_s`, and measure how loud they are."""
        try:
            ended = await run_sealed(self._command(path), timeout_s=self._timeout_s)
        except TimeoutError as exc:
            raise Poison(f"decoding the sound of this media takes more than {self._timeout_s:.0f} s") from exc
        if ended.status < 0:
            raise Retryable(f"ffmpeg was ended by signal {-ended.status} while decoding")
        if ended.status:
            raise Poison("the sound of this media cannot be decoded: it may be damaged")
        pcm = ended.output
        loudest_db = await asyncio.to_thread(loudest_second_db, np.frombuffer(pcm, dtype="<i2"))
        return Audio(pcm, loudest_db, gain_db(measured_lufs(ended.errors)))

    def _command(self, path: Path) -> list[str]:
        # The lists keep a playlist in disguise from reading other files or reaching out to the network.
        sealed = ["-protocol_whitelist", "file,pipe", "-format_whitelist", ",".join(FORMATS)]
        # -t goes by time stamps, which a file may make up: one with all its packets at 0 s would fill the memory.
        most = ["-t", str(self._max_media_s), "-fs", str(self._max_media_s * SAMPLE_RATE * BYTES_PER_SAMPLE)]
        what = ["-map", "0:a:0", "-vn", "-sn", "-dn", *most]
        form = [*_RAW, "-af", "aformat=channel_layouts=mono,ebur128=framelog=quiet", "-c:a", "pcm_s16le"]
        return [_ffmpeg(), *_QUIET, "-loglevel", "info", *sealed, "-i", f"file:{path}", *what, *form, "pipe:1"]


async def encode_opus(audio: Audio) -> bytes:
    """Sound as Ogg Opus of 16 kHz mono, with its gain.

    :raises Retryable: encoding was cut off by this machine.
    """
    volume = f"volume={audio.gain_db:.2f}dB:precision=float"
    form = ["-af", volume, "-c:a", "libopus", "-b:a", str(_OPUS_BITS), "-application", "voip", "-f", "ogg", "pipe:1"]
    command = [_ffmpeg(), *_QUIET, "-loglevel", "error", *_RAW, "-i", "pipe:0", *form]
    try:
        ended = await run_sealed(command, timeout_s=_ENCODE_S, given=audio.pcm)
    except TimeoutError as exc:
        raise Retryable(f"encoding sound takes more than {_ENCODE_S:.0f} s") from exc
    if ended.status:
        raise Retryable(f"encoding sound ended with status {ended.status}")
    return ended.output


def _ffmpeg() -> str:
    return str(imageio_ffmpeg.get_ffmpeg_exe())
