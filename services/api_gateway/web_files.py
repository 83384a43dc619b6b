"""The files of the web page, read once: each with its media type, its ETag, and a compressed copy if that is smaller.

What is asked for is looked up by its path among the files that are there; no path of a request reaches the disk.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WEB: Final = Path(__file__).parent / "web"

MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""By suffix; not from the machine's own table, which may call a module what browsers refuse to run."""


@dataclass(frozen=True)
class WebFile:
    """A file as it is sent; `compressed` is None where gzip makes it no smaller."""

    media_type: str
    etag: str
    plain: bytes
    compressed: bytes | None

    def encoded(self, *, gzipped: bool) -> tuple[bytes, str, str | None]:
        """Body, ETag and Content-Encoding for a client that takes gzip or not."""
        if gzipped and self.compressed is not None:
            return self.compressed, f'"{self.etag}-gzip"', "gzip"
        return self.plain, f'"{self.etag}"', None


def read_files(folder: Path = WEB) -> dict[str, WebFile]:
    """Every file of a folder by its path in it (`static/app.js`).

    :raises KeyError: a file whose suffix has no media type here.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _file(path) for path in found}


def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether a client says that it takes gzip; one that gives it the weight 0 does not.

    >>> takes_gzip("br, gzip;q=0.5"), takes_gzip("gzip;q=0"), takes_gzip(None)
    (True, False, False)
    """
    for part in (accept_encoding or "").split(","):
        name, _, weight = part.partition(";")
        if name.strip().lower() in ("gzip", "x-gzip"):
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether a client has this already, by its If-None-Match (RFC 9110, 13.1.2: weak tags count)."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or "*" in tags


def _file(path: Path) -> WebFile:
    plain = path.read_bytes()
    compressed = gzip.compress(plain, 9, mtime=0)
    return WebFile(
        MEDIA_TYPES[path.suffix],
        hashlib.sha256(plain).hexdigest()[:32],
        plain,
        compressed if len(compressed) < len(plain) else None,
    )
