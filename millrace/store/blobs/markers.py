"""Which files of a store's folder are meant for S3, which was away when they came: a durable note for each."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from millrace.store.blobs.durable import make_folder, sync_folder, write_durably, writing
from millrace.store.blobs.keys import BadKey, check_key
from millrace.store.blobs.metadata import decode, encode
from millrace.store.blobs.port import About

log = logging.getLogger(__name__)

_FOLDER: Final = ".healing"


class _Note(BaseModel):
    """What the file says; the metadata as S3 gets it, so that any text can be written down."""

    key: str
    metadata: dict[str, str]
    content_type: str | None


@dataclass(frozen=True)
class Marked:
    """A key that has to go to S3, and what goes with it; `since` when it was marked or postponed.

    `note` tells its note from a newer one of the same key.
    """

    key: str
    about: About
    since: datetime
    note: tuple[int, int]


class Markers:
    """Notes in a store's folder. Their methods do I/O: call them in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._folder = self._root / _FOLDER

    def mark(self, key: str, about: About) -> None:
        """Note a key, for good when this returns; before its file is written, so that none is ever without.

        :raises Unavailable: it cannot be written.
        """
        note = _Note(key=key, metadata=encode(about.metadata), content_type=about.content_type)
        content = note.model_dump_json().encode()
        with writing():
            make_folder(self._folder)
            with self._locked("notes.lock", wait=True):
                write_durably(self._root, self._note(key), lambda incoming: incoming.write(content))

    def all(self) -> list[Marked]:
        """Everything that is noted, the oldest first.

        A note that cannot be read is said and left out: those of others count all the same.

        :raises OSError: the folder cannot be read.
        """
        found = [marked for name in self.names() if (marked := _read(self._folder / name)) is not None]
        return sorted(found, key=lambda marked: marked.since)

    def names(self) -> set[str]:
        """Names of the notes, as `note_name` says: nobody may sweep the files that they are of, legible or not.

        :raises OSError: the folder cannot be read.
        """
        try:  # not `Path.glob`, which takes a folder that cannot be read for an empty one
            return {name for name in os.listdir(self._folder) if name.endswith(".json")}  # noqa: PTH208 - as it says
        except FileNotFoundError:
            return set()

    def remove(self, key: str) -> None:
        """Forget a key; it may be forgotten already.

        :raises OSError: it cannot be done.
        """
        self._note(key).unlink(missing_ok=True)
        if self._folder.is_dir():
            sync_folder(self._folder)

    def forget(self, marked: Marked) -> None:
        """Remove the note that was read, and no newer one: its writer is still to bring the file.

        :raises OSError: it cannot be done.
        """
        path = self._note(marked.key)
        with self._locked("notes.lock", wait=True):
            try:
                if _identity(path.stat()) != marked.note:
                    return
            except FileNotFoundError:
                return
            self.remove(marked.key)

    def postpone(self, marked: Marked) -> None:
        """Let all others go first next time.

        :raises OSError: it cannot be done.
        """
        with suppress(FileNotFoundError):
            os.utime(self._note(marked.key))

    @contextmanager
    def sole_healer(self) -> Iterator[bool]:
        """Whether no other process heals this folder; none does for as long as the context lasts then."""
        if not self._folder.is_dir():
            yield False
            return
        with self._locked("lock", wait=False) as alone:
            yield alone

    @contextmanager
    def sole_mover(self) -> Iterator[bool]:
        """Whether nobody else moves or deletes a file just now; nobody does for as long as the context lasts then."""
        if not self._folder.is_dir():
            yield True
            return
        with self._locked("moving.lock", wait=False) as alone:
            yield alone

    @contextmanager
    def _locked(self, name: str, *, wait: bool) -> Iterator[bool]:
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _lock(descriptor, wait=wait)
        finally:
            os.close(descriptor)  # which unlocks it, as the end of the process does

    def _note(self, key: str) -> Path:
        check_key(key)
        return self._folder / note_name(key)


def note_name(key: str) -> str:
    """Name of a key's note."""
    return f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _lock(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(note: Path) -> Marked | None:
    """None: it is done meanwhile, or nothing that can be read."""
    try:
        with note.open("rb") as file:
            status = os.fstat(file.fileno())
            said = _Note.model_validate_json(file.read())
        check_key(said.key)
        about = About(decode(said.metadata), said.content_type)
        encode(about.metadata)
    except FileNotFoundError:
        return None
    except OSError as exc:
        log.error("%s cannot be read, so its file stays here: %s", note, exc.strerror or exc)  # noqa: TRY400 - as below
        return None
    except (ValueError, BadKey):  # pydantic's error is a ValueError
        log.error("%s says nothing about a file: somebody has changed it", note)  # noqa: TRY400 - no stack needed
        return None
    return Marked(said.key, about, datetime.fromtimestamp(status.st_mtime, UTC), _identity(status))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns
