"""What counts as media, for probing and decoding alike."""

FORMATS = (
    "aac",
    "ac3",
    "aiff",
    "amr",
    "asf",
    "avi",
    "caf",
    "eac3",
    "flac",
    "flv",
    "matroska",
    "mov",
    "mp3",
    "mpeg",
    "mpegts",
    "ogg",
    "wav",
    "webm",
    "w64",
)
"""Demuxers of ffmpeg that may open a file.

Playlists (hls, dash, concat) are left out: they make ffmpeg open other files.
"""
