"""Media made for tests."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import imageio_ffmpeg

from millrace.testing.media import JFK_WAV


def repeated_speech(folder: Path, times: int, name: str = "long.wav") -> Path:
    """The speech several times over, as one WAV."""
    target = folder / name
    with wave.open(str(JFK_WAV)) as source, wave.open(str(target), "wb") as out:
        out.setparams(source.getparams())
        frames = source.readframes(source.getnframes())
        for _ in range(times):
            out.writeframes(frames)
    return target


def silent_video(folder: Path) -> Path:
    target = folder / "silent.mp4"
    source = [
        "-f",
        "lavfi",
        "-i",
        "anullsrc=r=16000:cl=mono",
        "-f",
        "lavfi",
        "-i",
        "color=size=64x64:rate=5",
        "-t",
        "5",
    ]
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *source, str(target)], check=True, timeout=60
    )
    return target
