"""Files and folders that are there for good once they are said to be: a power cut takes neither bytes nor names."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from millrace.errors import Unavailable

INCOMING: Final = ".incoming"
"""Folder of what is being written."""


def write_durably(root: Path, path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file of a store's folder: it is there whole and for good, or not at all.

    :raises Unavailable: it cannot be written, or the disk is full.
    """
    # Written aside on the same file system, then renamed: a reader never sees half a file.
    incoming = root / INCOMING
    with writing():
        make_folder(incoming)
        with tempfile.NamedTemporaryFile(dir=incoming, delete=False) as target:
            try:
                fill(target)
                target.flush()
                os.fsync(target.fileno())
                make_folder(path.parent)
                Path(target.name).replace(path)
                sync_folder(path.parent)
            except BaseException:
                Path(target.name).unlink(missing_ok=True)
                raise


@contextmanager
def writing() -> Iterator[None]:
    """What fails here is the folder's failure.

    :raises Unavailable: it cannot be written, or the disk is full.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable("the media store is full: free some space or give it another folder") from exc
        raise Unavailable(f"the media store cannot be written: {exc.strerror or exc}") from exc


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, for good: of a file in it no power cut leaves the name alone.

    :raises OSError: it cannot be done.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable.

    Without this a power cut may forget a rename, and an event would tell of bytes that are gone.

    :raises OSError: it cannot be done.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
