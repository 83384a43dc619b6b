"""The media store over a local folder."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Final

from millrace.errors import Unavailable
from millrace.store.blobs.counters import LOCAL
from millrace.store.blobs.durable import INCOMING, sync_folder, write_durably
from millrace.store.blobs.keys import check_key
from millrace.store.blobs.part import ByteRange, Part
from millrace.store.blobs.port import NOTHING, About, BlobMissing, Progress

_CHUNK_BYTES: Final = 1 << 18
LENT: Final = ".lent"
"""Folder of second names of files that are being read: who reads one keeps it, also when it is swept or healed."""


async def fingerprint(path: Path) -> tuple[str, int]:
    """SHA-256 (64 hex digits) and size in bytes of a file that the store has lent.

    :raises Unavailable: it cannot be read at present.
    """

    def read() -> tuple[str, int]:
        with _readable(), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()

    return await asyncio.to_thread(read)


class LocalBlobStore:
    """A folder of this machine, or one that all services have mounted. It keeps bytes alone, no metadata."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    async def put_file(self, key: str, path: Path, about: About = NOTHING, progress: Progress | None = None) -> None:
        """Copy a file into the folder and make it durable; it appears under its key in one step."""
        del about

        def copy() -> int:
            try:
                source = path.open("rb")
            except OSError as exc:
                raise Unavailable(f"the file for the media store cannot be read: {exc.strerror or exc}") from exc
            with source:
                write_durably(self.root, target, lambda incoming: shutil.copyfileobj(source, incoming, 1 << 20))
                return source.tell()

        target = self.path(key)
        size = await asyncio.to_thread(copy)
        LOCAL.inc()
        if progress is not None:
            await progress(size, size)

    async def put_bytes(self, key: str, content: bytes, about: About = NOTHING) -> None:
        """Write bytes and make them durable; they appear under their key in one step."""
        del about
        await asyncio.to_thread(write_durably, self.root, self.path(key), lambda incoming: incoming.write(content))
        LOCAL.inc()

    async def exists(self, key: str) -> bool:
        """Whether the file is there; nothing is, where the folder is still to be made."""
        return await asyncio.to_thread(self._is_kept, self.path(key))

    async def read(self, key: str) -> bytes:
        """The file's bytes."""

        def read() -> bytes:
            path = self._existing(key)
            with _readable():
                try:
                    return path.read_bytes()
                except FileNotFoundError:  # swept or healed since
                    raise _missing(key) from None

        return await asyncio.to_thread(read)

    @asynccontextmanager
    async def local_copy(self, key: str, progress: Progress | None = None) -> AsyncIterator[Path]:
        """The file itself, under a second name of its own: nothing is copied."""
        del progress
        lent = await asyncio.to_thread(self._lend, key)
        try:
            yield lent
        finally:
            if lent != self.path(key):
                await asyncio.to_thread(shutil.rmtree, lent.parent, ignore_errors=True)

    @asynccontextmanager
    async def part(self, key: str, wanted: ByteRange) -> AsyncIterator[Part]:
        """A part of the file, which stays readable when its key is deleted meanwhile."""
        file = await asyncio.to_thread(self._open, key)
        with file:
            size = os.fstat(file.fileno()).st_size
            start, stop = wanted.within(size)
            yield Part(start, stop, size, _chunks(file, start, stop))

    async def delete(self, key: str) -> None:
        """Remove the file, for good when this returns."""

        def remove() -> None:
            path = self.path(key)
            try:
                path.unlink(missing_ok=True)
                if path.parent.is_dir():
                    sync_folder(path.parent)
            except NotADirectoryError:
                return
            except OSError as exc:
                raise Unavailable(f"the media store cannot be changed: {exc.strerror or exc}") from exc

        await asyncio.to_thread(remove)

    async def url(self, key: str) -> str:
        """A `file:` URL."""
        return self.path(key).as_uri()

    async def presigned(self, key: str, expires: timedelta) -> str | None:
        """None: files have no such URL."""
        del expires
        check_key(key)
        return None

    def path(self, key: str) -> Path:
        """Where the file lies, or would lie.

        :raises BadKey: as `check_key`.
        """
        return self.root.joinpath(*check_key(key))

    def _open(self, key: str) -> IO[bytes]:
        path = self._existing(key)
        with _readable():
            try:
                return path.open("rb")
            except FileNotFoundError:  # swept or healed since
                raise _missing(key) from None

    def _lend(self, key: str) -> Path:
        path = self._existing(key)
        try:
            (self.root / LENT).mkdir(exist_ok=True)
            lent = Path(tempfile.mkdtemp(dir=self.root / LENT)) / path.name
        except OSError:  # a folder that is only read from, where nothing is swept either
            return path
        try:
            os.link(path, lent)
        except FileNotFoundError:
            lent.parent.rmdir()
            raise _missing(key) from None
        except OSError:  # a file system without second names
            lent.parent.rmdir()
            return path
        return lent

    def _existing(self, key: str) -> Path:
        path = self.path(key)
        if not self._is_kept(path):
            # Whoever gave out the key had put something, which leaves the folder of what comes in. Without it the
            # store's disk is not mounted, and all that it holds would be said to be gone.
            with _readable():
                if not _is_folder(self.root / INCOMING):
                    raise Unavailable(
                        "the media store is not there: mount it at the folder that MILLRACE_BLOBS names"
                    )
            raise _missing(key)
        return path

    def _is_kept(self, path: Path) -> bool:
        with _readable():
            found = _status(path)
            if found is None and (root := _status(self.root)) is not None and not stat.S_ISDIR(root.st_mode):
                raise Unavailable("the media store is not a folder: let MILLRACE_BLOBS name one")
        return found is not None and stat.S_ISREG(found.st_mode)


async def _chunks(file: IO[bytes], start: int, stop: int) -> AsyncIterator[bytes]:
    await asyncio.to_thread(file.seek, start)
    while start < stop:
        with _readable():
            chunk = await asyncio.to_thread(file.read, min(_CHUNK_BYTES, stop - start))
        if not chunk:
            raise Unavailable("the media store cannot be read: a file has become shorter")
        start += len(chunk)
        yield chunk


def _missing(key: str) -> BlobMissing:
    return BlobMissing(f"{key} is not in the media store any more: share it again")


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
