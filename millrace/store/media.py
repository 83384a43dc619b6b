"""Fetched media in the media store: the same content is kept once, for as long as it is kept at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from millrace.clock import Clock
from millrace.errors import Unavailable
from millrace.store.blobs import About, BlobMissing, BlobStore, Progress, is_temporary, media_key
from millrace.store.database import Database

log = logging.getLogger(__name__)

_REMEMBER = """
INSERT INTO media_objects (sha256, blob_key, size_bytes, stored_at) VALUES ($1, $2, $3, $4)
    ON CONFLICT (sha256) DO UPDATE
   SET blob_key = EXCLUDED.blob_key, size_bytes = EXCLUDED.size_bytes, stored_at = EXCLUDED.stored_at
 WHERE media_objects.stored_at <= EXCLUDED.stored_at
"""


def fetch_period(asked_at: datetime, kept_for: timedelta) -> int:
    """Number of the half of its retention in which media is asked for: what is fetched in it serves all of it. Pure.

    Whoever asks last in a period finds media that was fetched half of its retention ago at most.

    >>> from datetime import UTC
    >>> fetch_period(datetime.fromtimestamp(43_199, UTC), timedelta(days=1))
    0
    >>> fetch_period(datetime.fromtimestamp(43_200, UTC), timedelta(days=1))
    1
    """
    return int(asked_at.timestamp() // (kept_for.total_seconds() / 2))


class MediaShelf:
    """Keeps fetched media under `temp/`.

    :param kept_for: how long the store keeps it at least.
    """

    def __init__(self, database: Database, blobs: BlobStore, clock: Clock, kept_for: timedelta) -> None:
        self._db = database
        self._blobs = blobs
        self._clock = clock
        # A quarter: with the half of `fetch_period` a quarter is left to whoever comes last.
        self._reuse_for = kept_for / 4

    async def place(
        self, path: Path, sha256: str, suffix: str, metadata: Mapping[str, str], progress: Progress | None = None
    ) -> str:
        """Keep a file, unless the same content was kept lately and is still there; returns its key.

        Two workers with the same content may keep it twice: both keys hold, and one of them is reused later. Who dies
        before it is written down leaves an object that expires.

        :param sha256: of the file, as 64 hex digits.
        :param suffix: that a file of this kind has, `.mp4`.
        :raises Unavailable: it cannot be kept at present.
        """
        now = self._clock.now()
        known = await self._db.fetchrow("SELECT blob_key, stored_at FROM media_objects WHERE sha256 = $1", sha256)
        if known is not None and now - known["stored_at"] < self._reuse_for and await self._is_there(known[0]):
            return str(known["blob_key"])
        size = (await asyncio.to_thread(path.stat)).st_size
        key = media_key(sha256, suffix, now)
        await self._blobs.put_file(key, path, About(metadata), progress)
        await self._db.execute(_REMEMBER, sha256, key, size, now)
        return key

    async def _is_there(self, key: str) -> bool:
        try:
            return await self._blobs.exists(key)
        except Unavailable as exc:  # what nobody knows is kept anew: there is room elsewhere
            log.info("%s is kept anew: %s", key, exc)
            return False


@asynccontextmanager
async def lent(blobs: BlobStore, key: str, share_id: str, progress: Progress | None = None) -> AsyncIterator[Path]:
    """A share's media as a file to read; see `BlobStore.local_copy`.

    :raises BlobMissing: it is gone, with how to get it back.
    """
    async with AsyncExitStack() as stack:
        try:
            path = await stack.enter_async_context(blobs.local_copy(key, progress))
        except BlobMissing as exc:
            if not is_temporary(key):
                raise
            # Two commands: a stage that has given a share up goes on with it when that very stage is replayed.
            raise BlobMissing(
                f"the media of this share has expired: fetch it again with `millrace replay media --share {share_id} "
                f"--force`, then go on with `millrace replay transcribe --share {share_id}`; or share it again"
            ) from exc
        yield path
