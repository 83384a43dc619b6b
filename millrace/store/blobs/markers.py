"""Which files of a store's folder are meant for S3, which was away when they came: a durable note for each."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from millrace.store.blobs.keys import BadKey, check_key
from millrace.store.blobs.local import sync_folder, write_durably
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
    """A key that has to go to S3, and what goes with it; `since` when it was marked."""

    key: str
    about: About
    since: datetime


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
        write_durably(self._root, self._note(key), lambda incoming: incoming.write(content))

    def all(self) -> list[Marked]:
        """Everything that is noted, the oldest first.

        :raises OSError: the folder cannot be read.
        """
        found = [marked for note in self._folder.glob("*.json") if (marked := _read(note)) is not None]
        return sorted(found, key=lambda marked: marked.since)

    def paths(self) -> set[Path]:
        """The files that are noted: nobody may sweep them.

        :raises OSError: the folder cannot be read.
        """
        return {self._root.joinpath(*check_key(marked.key)) for marked in self.all()}

    def remove(self, key: str) -> None:
        """Forget a key; it may be forgotten already.

        :raises OSError: it cannot be done.
        """
        self._note(key).unlink(missing_ok=True)
        if self._folder.is_dir():
            sync_folder(self._folder)

    @contextmanager
    def sole_healer(self) -> Iterator[bool]:
        """Whether no other process heals this folder; none does for as long as the context lasts then."""
        if not self._folder.is_dir():
            yield False
            return
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _locked(descriptor)
        finally:
            os.close(descriptor)  # which unlocks it, as the end of the process does

    def _note(self, key: str) -> Path:
        check_key(key)
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(note: Path) -> Marked | None:
    """None: it is done meanwhile, or nothing that can be read."""
    try:
        since = datetime.fromtimestamp(note.stat().st_mtime, UTC)
        said = _Note.model_validate_json(note.read_bytes())
        check_key(said.key)
        about = About(decode(said.metadata), said.content_type)
        encode(about.metadata)
    except FileNotFoundError:
        return None
    except (ValueError, BadKey):  # pydantic's error is a ValueError
        log.error("%s says nothing about a file: somebody has changed it", note)  # noqa: TRY400 - no stack needed
        return None
    return Marked(said.key, about, since)
