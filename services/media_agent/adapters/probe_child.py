"""The child process of `probe`: prints what a media file holds as JSON.

Runs as a script: `python -I probe_child.py PATH FORMATS SECONDS`. Ends with 3 when the file is not media. A file that
takes over a demuxer meets the kernel's fence, where there is one: it reads nothing but the file, and reaches nobody.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

# Alone (-I), it knows only what is installed: this is where the package lies otherwise.
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from millrace.fetch.child.landlock import SHARED_LIBRARIES, restrict

NOT_MEDIA = 3
_MEMORY = 2 << 30
_TRIED_PACKETS = 300
_MAX_TAG = 500
_TAGS = ("title", "artist", "album", "comment", "language")


def probe(path: str, formats: str) -> dict[str, object]:
    """Format, duration and codecs; a stream counts when a frame near its start can be decoded."""
    # The lists keep a playlist in disguise from opening other files or connections.
    options = {"protocol_whitelist": "file", "format_whitelist": formats}
    with av.open(f"file:{path}", options=options, metadata_errors="replace") as media:
        # A cover is a picture, not moving pictures.
        videos = (stream for stream in media.streams.video if not stream.disposition & Disposition.attached_pic)
        audio, video = next(iter(media.streams.audio), None), next(videos, None)
        audio = audio if audio and plays(media, audio) else None
        video = video if video and plays(media, video) else None
        duration_ms = (media.duration or 0) // 1000
        if not duration_ms and (audio or video):
            duration_ms = longest_ms(media)
        return {
            "format": media.format.name,
            "duration_ms": duration_ms,
            "audio_codec": audio.codec_context.name if audio else None,
            "video_codec": video.codec_context.name if video else None,
            "tags": {name: media.metadata[name][:_MAX_TAG] for name in _TAGS if media.metadata.get(name)},
        }


def plays(media: InputContainer, stream: Stream) -> bool:
    """Whether the stream has a frame that can be decoded; a recording may start in the middle of one that cannot."""
    media.seek(0)
    return any(decodes(packet) for packet in itertools.islice(media.demux(stream), _TRIED_PACKETS))


def decodes(packet: av.Packet[Stream]) -> bool:
    """Whether a packet gives a frame."""
    try:
        return bool(packet.decode())
    except av.FFmpegError:
        return False


def longest_ms(media: InputContainer) -> int:
    """Length by reading all of it, for containers that do not say: recordings of browsers, raw streams."""
    media.seek(0)
    ends = (
        float((packet.pts + (packet.duration or 0)) * packet.time_base)
        for packet in media.demux()
        if packet.pts is not None and packet.time_base is not None
    )
    return int(max(ends, default=0.0) * 1000)


def fence(path: str) -> int:
    """Have the kernel refuse all but reading this file, Python and libraries; the version of Landlock, 0: none."""
    packages = Path(av.__file__).parents[1]
    return restrict(readable=(Path(path), Path(os.__file__).parent, packages, *SHARED_LIBRARIES))


def main() -> None:
    """Probe the file that the command line names."""
    seconds = int(float(sys.argv[3])) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        sys.stdout.write(json.dumps({"kernel": fence(sys.argv[1]), **probe(sys.argv[1], sys.argv[2])}))
    except (av.FFmpegError, ValueError):
        sys.exit(NOT_MEDIA)


if __name__ == "__main__":
    main()
