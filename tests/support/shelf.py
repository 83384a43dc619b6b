"""A place for fetched media without a database: everything is kept anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from millrace.store.blobs import LocalBlobStore, Progress, media_key
from millrace.testing.samples import NOW


class FakeShelf:
    """Implements `Shelf`; remembers what was said about the last file."""

    def __init__(self, store: LocalBlobStore) -> None:
        self.store = store
        self.metadata: Mapping[str, str] = {}

    async def place(
        self, path: Path, sha256: str, suffix: str, metadata: Mapping[str, str], progress: Progress | None = None
    ) -> str:
        """Keep it."""
        key = media_key(sha256, suffix, NOW)
        self.metadata = metadata
        await self.store.put_file(key, path, progress=progress)
        return key
