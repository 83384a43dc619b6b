"""Keys of the media store: which are taken, and which a content gets. Pure."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Final

from millrace.errors import Poison
from millrace.store.blobs.kinds import SUFFIXES

TEMP: Final = "temp"
"""First part of the keys of temporary media, which expires. Everything else is kept."""

UPLOADS: Final = "uploads"
"""First part of the keys of what people upload."""

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STORED_AT = re.compile(rf"{TEMP}/.*-(\d{{1,11}})\.[a-z0-9]{{1,8}}")
_MAX_KEY = 512


class BadKey(Poison):
    """A key that no store would have given out."""


def check_key(key: str) -> tuple[str, ...]:
    """The parts of a key: letters, digits, `.`, `_` and `-`, none starting with a dot, joined by `/`.

    :raises BadKey: for anything else, which includes every way out of the store's folder.
    """
    parts = tuple(key.split("/"))
    if len(key) > _MAX_KEY or not all(_PART.fullmatch(part) for part in parts):
        raise BadKey("a key of the media store has parts of letters, digits, '.', '_' and '-' joined by '/'")
    return parts


def content_key(prefix: str, sha256: str, suffix: str = "") -> str:
    """Key of content by its hash: `<prefix>/<first two digits>/<sha256><suffix>`.

    `suffix` is a file name's suffix as somebody gave it; one that media does not have is left out.

    :raises BadKey: when `sha256` is not 64 lower-case hex digits, or the prefix is not part of a key.
    """
    _check_hash(sha256)
    suffix = suffix.lower()
    key = f"{prefix}/{sha256[:2]}/{sha256}{suffix if suffix in SUFFIXES else ''}"
    check_key(key)
    return key


def media_key(sha256: str, suffix: str, stored_at: datetime) -> str:
    """Key of fetched media: `temp/videos/{year}/{month}/{day}/{sha256}-{Unix seconds}.{ext}`, in UTC.

    `suffix` as in `content_key`; one that media does not have becomes `.bin`.

    >>> media_key("0" * 64, ".mp4", datetime(2026, 1, 5, tzinfo=UTC))[-22:]
    '0000000-1767571200.mp4'

    :raises BadKey: when `sha256` is not 64 lower-case hex digits.
    """
    _check_hash(sha256)
    suffix = suffix.lower()
    at = stored_at.astimezone(UTC)
    extension = suffix if suffix in SUFFIXES else ".bin"
    return f"{TEMP}/videos/{at:%Y/%m/%d}/{sha256}-{int(at.timestamp())}{extension}"


def stored_at(key: str) -> datetime | None:
    """When the content of a `media_key` was stored, to the second; None for other keys."""
    found = _STORED_AT.fullmatch(key)
    return datetime.fromtimestamp(int(found[1]), UTC) if found else None


def is_temporary(key: str) -> bool:
    """Whether what lies under the key expires."""
    return key.startswith(f"{TEMP}/")


def drawn(key: str, percent: int) -> bool:
    """Whether a key is one of so many of a hundred: by its hash, so that everybody draws alike."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100 < percent


def _check_hash(sha256: str) -> None:
    if not _SHA256.fullmatch(sha256):
        raise BadKey("a content key needs the SHA-256 of the content as 64 lower-case hex digits")
