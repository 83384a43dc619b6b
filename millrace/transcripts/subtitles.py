"""Cues as SubRip (SRT) and as WebVTT, written by pysubs2 (of the extra `gateway`). Pure.

What a stranger has said must not become markup. WebVTT has character references for it. SubRip has none, and players
take `<b>`, `{\\an8}`, `\\N` and sometimes two times on a line for commands: there those characters are written as
others that look alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import pysubs2

from millrace.transcripts.cues import Cue

_SRT: Final = str.maketrans({"<": "\u2039", ">": "\u203a", "{": "(", "}": ")", "\\": "\u2216"})
_SRT_TIME: Final = re.compile(r"(\d:\d{1,2}):(?=\d{1,2}[.,]\d)")
_VTT: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
# To pysubs2 a backslash begins a command, and nothing can be put before it; this is no character, and in no cue.
_BACKSLASH: Final = "\ufdd0"


def srt(cues: Iterable[Cue]) -> str:
    """SubRip; an empty text without cues."""
    return _written(cues, "srt", lambda line: _SRT_TIME.sub("\\1\u2236", line.translate(_SRT)))


def vtt(cues: Iterable[Cue]) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/): its header, then the cues."""
    return _written(cues, "vtt", lambda line: line.translate(_VTT))


def _written(cues: Iterable[Cue], kind: str, escaped: Callable[[str], str]) -> str:
    file = pysubs2.SSAFile()
    for cue in cues:
        text = "\\N".join(escaped(line).replace("\\", _BACKSLASH) for line in cue.lines)
        file.append(pysubs2.SSAEvent(start=cue.start_ms, end=cue.end_ms, text=text))
    # Without `keep_ssa_tags` whatever stands in braces would be left out.
    return file.to_string(kind, keep_ssa_tags=True).replace(_BACKSLASH, "\\")
