"""Opens the media store that the settings ask for, and keeps it in order while a service runs."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.clock import Clock
from millrace.errors import ConfigurationError, Unavailable
from millrace.settings import StorageSettings
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.heal import heal
from millrace.store.blobs.local import LENT, LocalBlobStore
from millrace.store.blobs.markers import Markers
from millrace.store.blobs.port import BlobStore
from millrace.store.blobs.sweep import sweep_store

if TYPE_CHECKING:
    from millrace.store.blobs.s3 import S3BlobStore

log = logging.getLogger(__name__)

# As botocore takes it: servers of others have fewer rules than Amazon.
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:[A-Za-z0-9:/._-]{1,255}")
HEAL_EVERY_S: Final = 10.0
SWEEP_EVERY_S: Final = 3600.0


@asynccontextmanager
async def open_blobs(settings: StorageSettings, folder: Path) -> AsyncIterator[BlobStore]:
    """The media store; nothing is asked of S3 yet, so that it may be away at the start.

    In the mode local nothing new goes to the bucket; if one is set it is still read from, for what went there before
    the mode was changed.

    :param folder: of what is kept on this machine.
    :raises ConfigurationError: a setting is missing or wrong, or a package is not installed.
    """
    local = LocalBlobStore(folder)
    if settings.storage_mode == "local" and not _may_read_s3(settings):
        yield local
        return
    percent = {"local": 0, "s3": None, "hybrid": settings.hybrid_s3_percent}[settings.storage_mode]
    async with open_s3(settings, scratch=local.root / LENT) as s3:
        wait = timedelta(seconds=settings.s3_wait_s)
        yield FallbackBlobStore(local, s3, percent=percent, on_its_way=wait)


def _may_read_s3(settings: StorageSettings) -> bool:
    """Without the package nothing of this installation has ever gone to a bucket: its name may be for others."""
    if settings.s3_bucket is None:
        return False
    if find_spec("aioboto3") is None:
        log.warning("the bucket is not read from: that needs `millrace[s3]`")
        return False
    return True


@asynccontextmanager
async def open_s3(settings: StorageSettings, scratch: Path | None = None) -> AsyncIterator[S3BlobStore]:
    """The bucket alone; `scratch` as in `S3BlobStore`.

    :raises ConfigurationError: a setting is missing or wrong, or a package is not installed.
    """
    if settings.s3_bucket is None:
        raise ConfigurationError("Media is to go to S3, but to no bucket: set MILLRACE_S3_BUCKET.")
    check_bucket(settings.s3_bucket)
    if (settings.s3_access_key_id is None) != (settings.s3_secret_access_key is None):
        raise ConfigurationError(
            "A key of S3 goes with its secret: set both MILLRACE_S3_ACCESS_KEY_ID and MILLRACE_S3_SECRET_ACCESS_KEY."
        )
    try:
        # A second and 40 MB that a local folder does without, and packages.
        from millrace.store.blobs.s3 import S3BlobStore, open_client  # noqa: PLC0415 - as the line above says
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"Media in S3 needs the package {exc.name}: install `millrace[s3]`, or set MILLRACE_STORAGE_MODE=local."
        ) from None
    encryption = None if settings.s3_encryption == "none" else settings.s3_encryption
    async with open_client(settings) as client:
        yield S3BlobStore(
            client,
            settings.s3_bucket,
            encryption=encryption,
            public_base_url=settings.s3_public_base_url,
            scratch=scratch,
        )


def check_bucket(name: str) -> None:
    """Refuse what the client would not send.

    :raises ConfigurationError: it cannot be the name of a bucket.
    """
    if not _BUCKET.fullmatch(name):
        raise ConfigurationError("This cannot be the name of a bucket: it is made of a-z, 0-9, '.' and '-'.")


async def keep_order(blobs: BlobStore, settings: StorageSettings, folder: Path, clock: Clock) -> None:
    """Sweep the folder at once and every hour, and heal what S3 did not take; runs until cancelled.

    Nothing of it is anybody's job: what fails is said and tried again.
    """
    keep, swept_at = timedelta(hours=settings.temp_hours), -SWEEP_EVERY_S
    while True:
        if time.monotonic() - swept_at >= SWEEP_EVERY_S:
            swept_at = time.monotonic()
            await _sweep(folder, clock, keep)
        if isinstance(blobs, FallbackBlobStore):
            await _heal(blobs, clock)
        await asyncio.sleep(HEAL_EVERY_S)


async def _sweep(folder: Path, clock: Clock, keep: timedelta) -> None:
    def sweep() -> int:
        return sweep_store(folder, clock.now(), keep=keep, held=Markers(folder).names())

    try:
        gone = await asyncio.to_thread(sweep)
    except OSError as exc:
        log.warning("the media store cannot be swept: %s", exc.strerror or exc)
        return
    if gone:
        log.info("%d files of temporary media have expired", gone)


async def _heal(blobs: FallbackBlobStore, clock: Clock) -> None:
    try:
        done = await heal(blobs, clock.now())
    except Unavailable as exc:
        log.warning("%s", exc)
        return
    if done.moved:
        log.info("%d files went to S3, %d are left", done.moved, done.left)
