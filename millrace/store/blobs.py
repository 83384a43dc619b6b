"""The media store: large bytes by key. Its port, and the adapter over a local folder.

Events carry keys, never paths: where the bytes are is the store's matter. What is written is never changed, so a
key made from its content (`content_key`) is written once however often it is asked for.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol

from millrace.errors import Poison, Unavailable

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_MAX_KEY = 512
_INCOMING = ".incoming"
_ABANDONED_AFTER_S = 24 * 3600


class BadKey(Poison):
    """A key that no store would have given out."""


class BlobMissing(Poison):
    """The store has nothing under this key (any more)."""


class BlobStore(Protocol):
    """Keeps bytes by key.

    Every method raises `BadKey` for a key that is not of the form of `check_key`, and `Unavailable` when the store
    does not answer or is full.
    """

    async def put_file(self, key: str, path: Path) -> None:
        """Copy a file into the store; it is there whole or not at all. The original stays."""
        ...

    async def put_bytes(self, key: str, content: bytes) -> None:
        """Keep bytes under a key, whole or not at all."""
        ...

    async def exists(self, key: str) -> bool:
        """Whether something is kept under the key."""
        ...

    async def read(self, key: str) -> bytes:
        """All bytes under the key.

        :raises BlobMissing: nothing is there.
        """
        ...

    def local_copy(self, key: str) -> AbstractAsyncContextManager[Path]:
        """A file to read the content from, for as long as the context lasts; it must not be changed.

        :raises BlobMissing: nothing is there.
        """
        ...

    def url(self, key: str) -> str:
        """Where the content is, for people and other programs (`file:` or `s3:`)."""
        ...


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

    `suffix` is a file name's suffix as somebody gave it; one that is not short and plain is left out.

    :raises BadKey: when `sha256` is not 64 lower-case hex digits, or the prefix is not part of a key.
    """
    if not _SHA256.fullmatch(sha256):
        raise BadKey("a content key needs the SHA-256 of the content as 64 lower-case hex digits")
    suffix = suffix.lower()
    key = f"{prefix}/{sha256[:2]}/{sha256}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
    check_key(key)
    return key


async def fingerprint(path: Path) -> tuple[str, int]:
    """SHA-256 (64 hex digits) and size in bytes of a file that the store has lent.

    :raises Unavailable: it cannot be read at present.
    """

    def read() -> tuple[str, int]:
        with _readable(), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()

    return await asyncio.to_thread(read)


class LocalBlobStore:
    """A folder of this machine, or one that all services have mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    async def put_file(self, key: str, path: Path) -> None:
        """Copy a file into the folder and make it durable; it appears under its key in one step."""

        def copy() -> None:
            try:
                source = path.open("rb")
            except OSError as exc:
                raise Unavailable(f"the file for the media store cannot be read: {exc.strerror or exc}") from exc
            with source:
                self._write(target, lambda incoming: shutil.copyfileobj(source, incoming, 1 << 20))

        target = self._path(key)
        await asyncio.to_thread(copy)

    async def put_bytes(self, key: str, content: bytes) -> None:
        """Write bytes and make them durable; they appear under their key in one step."""

        await asyncio.to_thread(self._write, self._path(key), lambda incoming: incoming.write(content))

    async def exists(self, key: str) -> bool:
        """Whether the file is there; nothing is, where the folder is still to be made."""
        return await asyncio.to_thread(self._is_kept, self._path(key))

    async def read(self, key: str) -> bytes:
        """The file's bytes."""

        def read() -> bytes:
            path = self._existing(key)
            with _readable():
                return path.read_bytes()

        return await asyncio.to_thread(read)

    @asynccontextmanager
    async def local_copy(self, key: str) -> AsyncIterator[Path]:
        """The file itself: nothing is copied."""
        yield await asyncio.to_thread(self._existing, key)

    def url(self, key: str) -> str:
        """A `file:` URL."""
        return self._path(key).as_uri()

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*check_key(key))

    def _existing(self, key: str) -> Path:
        path = self._path(key)
        if not self._is_kept(path):
            # Whoever gave out the key had put something, which leaves the folder of what comes in. Without it the
            # store's disk is not mounted, and all that it holds would be said to be gone.
            with _readable():
                if not _is_folder(self._root / _INCOMING):
                    raise Unavailable(
                        "the media store is not there: mount it at the folder that MILLRACE_BLOBS names"
                    )
            raise BlobMissing(f"{key} is not in the media store any more: share it again")
        return path

    def _is_kept(self, path: Path) -> bool:
        with _readable():
            found = _status(path)
            if found is None and (root := _status(self._root)) is not None and not stat.S_ISDIR(root.st_mode):
                raise Unavailable("the media store is not a folder: let MILLRACE_BLOBS name one")
        return found is not None and stat.S_ISREG(found.st_mode)

    def _write(self, path: Path, fill: Callable[[IO[bytes]], object]) -> None:
        # Written aside on the same file system, then renamed: a reader never sees half a file.
        incoming = self._root / _INCOMING
        try:
            incoming.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=incoming, delete=False) as target:
                try:
                    fill(target)
                    target.flush()
                    os.fsync(target.fileno())
                    Path(target.name).replace(path)
                    _sync_folder(path.parent)
                except BaseException:
                    Path(target.name).unlink(missing_ok=True)
                    raise
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Unavailable("the media store is full: free some space or give it another folder") from exc
            raise Unavailable(f"the media store cannot be written: {exc.strerror or exc}") from exc


def sweep_incoming(root: Path) -> None:
    """Remove what writers that were killed have left in a store's folder a day ago.

    :raises OSError: the folder cannot be read or changed.
    """
    sweep(root / _INCOMING, "tmp*")


def sweep(folder: Path, pattern: str) -> None:
    """Remove files by a pattern of their names that nobody has written to for a day; nothing without the folder.

    :raises OSError: the folder cannot be read or changed.
    """
    for left in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process sweeps, too, or the writer is just ready
            if left.stat().st_mtime < time.time() - _ABANDONED_AFTER_S:
                left.unlink()


@contextmanager
def _readable() -> Iterator[None]:
    """A disk that fails, is remounted or refuses us says nothing about what it holds."""
    try:
        yield
    except OSError as exc:
        raise Unavailable(f"the media store cannot be read: {exc.strerror or exc}") from exc


def _status(path: Path) -> os.stat_result | None:
    """None: nothing is there. Not `Path.is_file`, which takes some failures for that."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_folder(path: Path) -> bool:
    found = _status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def _sync_folder(folder: Path) -> None:
    # Without this a power cut may forget the rename, and an event would tell of bytes that are gone.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
