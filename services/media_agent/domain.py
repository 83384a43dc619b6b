"""Which media is taken, and what fetching it comes to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from millrace.errors import Poison
from millrace.text import storable

_SUFFIXES = {"mov,mp4,m4a,3gp,3g2,mj2": ".mp4", "matroska,webm": ".mkv", "mpegts": ".ts"}

NO_VIDEO: Final = "no-video"
"""Reason of a result without media: the page has none, but a text about itself."""
_LONGEST_TITLE, _LONGEST_TEXT, _LONGEST_FIELD = 500, 10_000, 500

# What yt-dlp calls it, and what the event calls it.
_METADATA = {
    "uploader": "uploader",
    "channel": "channel",
    "upload_date": "upload_date",
    "extractor_key": "platform",
    "description": "description",
}
# Their addresses are pages, never files: asking for one directly would only tell them that we came.
_PLATFORMS = frozenset(
    {"youtube.com", "youtu.be", "youtube-nocookie.com", "vimeo.com", "tiktok.com", "instagram.com", "facebook.com"}
    | {"fb.watch", "x.com", "twitter.com", "reddit.com", "redd.it", "twitch.tv", "dailymotion.com", "soundcloud.com"}
)


@dataclass(frozen=True)
class Said:
    """What a source says about its media or itself; in characters that can be stored, and bounded."""

    title: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fetched:
    """A file and what it is: `sha256` as 64 hex digits, its size, and what its source says about it."""

    sha256: str
    size_bytes: int
    said: Said = Said()


@dataclass(frozen=True)
class Caption:
    """What stands on a page that has no video; `text` may be empty."""

    text: str
    said: Said = Said()


@dataclass(frozen=True)
class Probe:
    """What a media file holds. `duration_ms` is 0 when nothing in it lasts."""

    format: str
    duration_ms: int
    audio_codec: str | None
    video_codec: str | None
    tags: dict[str, str] = field(default_factory=dict)


class MediaResult(BaseModel):
    """Result of the stage: what `MediaReady` says about the media, whoever shared it."""

    model_config = ConfigDict(frozen=True)

    blob_key: str
    media_url: str
    sha256: str
    size_bytes: int
    duration_ms: int
    format: str
    audio_codec: str | None = None
    video_codec: str | None = None
    metadata: dict[str, str] = {}
    title: str | None = None
    skipped_reason: str | None = None
    caption: str | None = None


def is_platform(host: str) -> bool:
    """Whether a host is known to show videos on pages.

    >>> is_platform("m.youtube.com"), is_platform("notyoutube.com")
    (True, False)
    """
    labels = host.lower().rstrip(".").split(".")
    return any(".".join(labels[start:]) in _PLATFORMS for start in range(len(labels)))


def said_of(info: Mapping[str, object]) -> Said:
    """What an extraction says about its video: texts only, whatever a site has put there."""
    texts = {name: value.strip() for name, value in info.items() if isinstance(value, str) and value.strip()}
    lengths = {"description": _LONGEST_TEXT}
    metadata = {
        ours: storable(texts[theirs], lengths.get(ours, _LONGEST_FIELD))
        for theirs, ours in _METADATA.items()
        if theirs in texts
    }
    return Said(storable(texts["title"], _LONGEST_TITLE) if "title" in texts else None, metadata)


def caption_of(title: str, description: str) -> Caption:
    """The text of a page: its title and its description, once where one repeats the other."""
    texts = [storable(text.strip(), _LONGEST_TEXT) for text in (title, description)]
    told = [text for text in texts if text]
    if len(told) == 2 and told[1].startswith(told[0]):
        told = told[1:]
    return Caption("\n\n".join(told), Said(texts[0][:_LONGEST_TITLE] or None))


def check_length(length: timedelta, *, longest: timedelta) -> None:
    """Whether media is short enough.

    :raises Poison: it is not.
    """
    if length > longest:
        raise Poison(f"this media lasts {_minutes(length)} min; at most {_minutes(longest)} min are taken")


def check_probe(probe: Probe, *, longest: timedelta) -> None:
    """Whether the media can go on to the other stages.

    :raises Poison: there is nothing in it, it does not last, or it lasts too long.
    """
    if probe.duration_ms <= 0:
        raise Poison("this media is 0 seconds long")
    if probe.audio_codec is None and probe.video_codec is None:
        raise Poison("this file has neither sound nor moving pictures that can be decoded")
    check_length(timedelta(milliseconds=probe.duration_ms), longest=longest)


def suffix_of(format_name: str) -> str:
    """A file name's suffix for a container format as ffmpeg names it."""
    return _SUFFIXES.get(format_name, f".{format_name}")


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:.1f}".removesuffix(".0")
