"""Which kinds of content there are: suffixes that keys may have, and types that a server may be told.

What people upload is named by them, and may be read below a public URL: nothing of it may be taken for a page.
"""

from __future__ import annotations

import mimetypes
import re
from typing import Final

_MEDIA: Final = (
    "3g2 3gp aac ac3 aif aifc aiff amr asf au avi caf eac3 f4v flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 mp4 "
    "mpeg mpg mts mxf oga ogg ogv opus ts vob wav wave weba webm wma wmv"
)
SUFFIXES: Final = frozenset({f".{name}" for name in _MEDIA.split()} | {".json"})
"""Of media, and of what we write ourselves."""
_TYPE = re.compile(r"(?:audio|video)/[a-z0-9][a-z0-9.+-]{0,99}|application/json")
_ANY: Final = "application/octet-stream"


def safe_type(key: str, said: str | None) -> str:
    """The content type of an object: what is said of it, or what its key says, if no browser takes that for a page.

    >>> safe_type("uploads/ab/abc.html", None)
    'application/octet-stream'
    """
    found = (said or mimetypes.guess_type(key)[0] or _ANY).lower()
    return found if _TYPE.fullmatch(found) else _ANY
