"""A bucket in a folder, for decisions that need no S3 server; real servers are in tests/integration/storage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

from millrace.clock import Clock, SystemClock
from millrace.errors import Unavailable
from millrace.store.blobs import NOTHING, About, LocalBlobStore, Progress
from millrace.store.blobs.durable import INCOMING
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.s3 import Kept, S3BlobStore


class FolderBucket(LocalBlobStore):
    """`fails` is asked what is wrong with each key that is put; `put` are those that were tried."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / INCOMING).mkdir(parents=True)
        self.fails: Callable[[str], Unavailable | None] = lambda _: None
        self.tried: list[str] = []

    async def put_file(self, key: str, path: Path, about: About = NOTHING, progress: Progress | None = None) -> None:
        """Take a file, unless it fails."""
        self._try(key)
        await super().put_file(key, path, about, progress)

    async def put_bytes(self, key: str, content: bytes, about: About = NOTHING) -> None:
        """Take bytes, unless it fails."""
        self._try(key)
        await super().put_bytes(key, content, about)

    async def kept(self, key: str) -> Kept | None:
        """As S3 says it."""
        if not await self.exists(key):
            return None
        return Kept((await asyncio.to_thread(self.path(key).stat)).st_size, "", NOTHING, None)

    def _try(self, key: str) -> None:
        self.tried.append(key)
        if (error := self.fails(key)) is not None:
            raise error


def node(
    folder: Path, bucket: FolderBucket, *, percent: int | None = None, clock: Clock | None = None
) -> FallbackBlobStore:
    """The store of one machine with a folder of its own."""
    s3 = cast("S3BlobStore", bucket)
    return FallbackBlobStore(LocalBlobStore(folder), s3, percent=percent, clock=clock or SystemClock())
