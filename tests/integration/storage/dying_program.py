"""Uploads a file, or heals a folder, and stands still after the first part until it is killed.

`python dying_program.py put FOLDER KEY FILE`, `python dying_program.py heal FOLDER`; settings by environment.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from millrace.cli.storage import StorageCommandSettings
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.heal import heal
from millrace.store.blobs.local import LocalBlobStore
from millrace.store.blobs.opening import open_s3
from millrace.store.blobs.port import NOTHING, About, Progress
from millrace.store.blobs.s3 import S3BlobStore


class StandingStill(S3BlobStore):
    """Says after the first part that it has been sent, and goes no further."""

    async def put_file(self, key: str, path: Path, about: About = NOTHING, progress: Progress | None = None) -> None:
        """Upload one part of a file."""
        del progress

        async def stop(done: int, of: int) -> None:
            sys.stdout.write(f"sent {done} of {of}\n")
            sys.stdout.flush()
            await asyncio.sleep(600)

        await super().put_file(key, path, about, stop)


async def _main(what: str, folder: Path, *more: str) -> None:
    async with open_s3(StorageCommandSettings()) as opened:
        store = FallbackBlobStore(LocalBlobStore(folder), StandingStill(opened.client, opened.bucket, part=5 << 20))
        if what == "put":
            await store.put_file(more[0], Path(more[1]))
        else:
            await heal(store, datetime.now(UTC))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
