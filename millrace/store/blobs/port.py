"""The media store's port: large bytes by key.

Events carry keys, never paths: where the bytes are is the store's matter. What is written is never changed, so a
key made from its content (`millrace.store.blobs.keys`) stands for the same bytes for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from millrace.errors import Poison, Retryable, Unavailable
from millrace.store.blobs.part import ByteRange, Part

Progress = Callable[[int, int], Awaitable[None]]
"""Told how many bytes of how many have been copied."""


class BlobMissing(Poison):
    """The store has nothing under this key (any more)."""


class NotHereYet(Retryable):
    """S3 has nothing under a key that is kept for good: the folder of another machine may have it, or it is lost."""


class Refused(Unavailable):
    """The store answers, and will not do it until somebody changes something."""


class LocalFailure(Unavailable):
    """A file of this machine cannot be read or removed; it says nothing about the store behind."""


@dataclass(frozen=True)
class About:
    """What is kept beside the bytes where a store has room for it (S3; a folder has none).

    `metadata` by names of lower-case letters, digits and `-`, with any text; see `millrace.store.blobs.metadata`.
    """

    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = None


NOTHING = About()


class BlobStore(Protocol):
    """Keeps bytes by key.

    Every method raises `BadKey` for a key that is not of the form of `check_key`, and `Unavailable` when the store
    does not answer or is full.
    """

    async def put_file(self, key: str, path: Path, about: About = NOTHING, progress: Progress | None = None) -> None:
        """Copy a file into the store; it is there whole or not at all. The original stays."""
        ...

    async def put_bytes(self, key: str, content: bytes, about: About = NOTHING) -> None:
        """Keep bytes under a key, whole or not at all."""
        ...

    async def exists(self, key: str) -> bool:
        """Whether something is kept under the key."""
        ...

    async def read(self, key: str) -> bytes:
        """All bytes under the key.

        :raises BlobMissing: nothing is there.
        :raises NotHereYet: nothing is there, but may come.
        """
        ...

    def local_copy(self, key: str, progress: Progress | None = None) -> AbstractAsyncContextManager[Path]:
        """A file to read the content from, for as long as the context lasts; it must not be changed.

        :raises BlobMissing: nothing is there.
        :raises NotHereYet: nothing is there, but may come.
        """
        ...

    def part(self, key: str, wanted: ByteRange) -> AbstractAsyncContextManager[Part]:
        """A part of the content, which is read while it is sent on; no more than that is read.

        :raises BlobMissing: nothing is there.
        :raises NotHereYet: nothing is there, but may come.
        :raises BeyondEnd: there are not so many bytes.
        """
        ...

    async def delete(self, key: str) -> None:
        """Keep nothing under the key any more; nothing may be there already."""
        ...

    async def url(self, key: str) -> str:
        """Where the content is, for people and other programs: `file:`, `s3:`, or below the public base URL."""
        ...

    async def presigned(self, key: str, expires: timedelta) -> str | None:
        """A URL by which anybody reads the content until it expires; None when the content has no such URL."""
        ...


async def put_once(blobs: BlobStore, key: str, path: Path, about: About = NOTHING) -> None:
    """Copy a file into the store unless its key is there already; when nobody knows whether it is, copy it.

    :raises Unavailable: it cannot be kept.
    """
    try:
        there = await blobs.exists(key)
    except Unavailable:  # the store may still find a place for what is new
        there = False
    if not there:
        await blobs.put_file(key, path, about)
