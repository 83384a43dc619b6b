"""Removes from a store's folder what killed writers and readers left, and media that has expired."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from millrace.store.blobs.durable import INCOMING
from millrace.store.blobs.keys import TEMP
from millrace.store.blobs.local import LENT
from millrace.store.blobs.markers import note_name
from millrace.store.blobs.scratch import FETCHING

log = logging.getLogger(__name__)

ABANDONED_AFTER: Final = timedelta(days=1)
"""Nobody writes or reads a file for so long."""
FETCH_ABANDONED_AFTER: Final = timedelta(hours=6)
"""No fetch brings nothing for so long."""


def sweep_store(root: Path, now: datetime, *, keep: timedelta, held: Collection[str] = ()) -> int:
    """Sweep a store's folder: leftovers of a day, and temporary media that is older than `keep`.

    What cannot be removed is said and left: the rest goes all the same.

    :param held: names of the notes whose files stay whatever their age; see `Markers.names`.
    :return: how many files of temporary media went.
    :raises OSError: the folder cannot be read.
    """
    root = root.absolute()
    sweep(root / INCOMING, "tmp*", now)
    for lent in (root / LENT).glob("*"):
        with _going_on(lent):
            if _age(lent, now) > ABANDONED_AFTER:
                shutil.rmtree(lent)
    _sweep_fetching(root / FETCHING, now)
    return _sweep_temporary(root, now, keep, held)


def sweep(folder: Path, pattern: str, now: datetime) -> None:
    """Remove files by a pattern of their names that nobody has written to for a day; nothing without the folder."""
    for left in folder.glob(pattern):
        with _going_on(left):
            if _age(left, now) > ABANDONED_AFTER:
                left.unlink()


@contextmanager
def _going_on(path: Path) -> Iterator[None]:
    """One thing that cannot be removed does not hold the others up."""
    try:
        yield
    except FileNotFoundError:  # another process sweeps, too, or the writer is just ready
        return
    except OSError as exc:
        log.warning("%s cannot be removed: %s", path, exc.strerror or exc)


def _sweep_fetching(folder: Path, now: datetime) -> None:
    if folder.is_symlink():  # nothing of ours: see `scratch_folder`
        log.warning("%s is a link to another place, where nothing is swept", folder)
        return
    for left in folder.glob("*"):
        with _going_on(left):
            if min(_age(path, now) for path in (left, *left.rglob("*"))) > FETCH_ABANDONED_AFTER:
                shutil.rmtree(left)


def _sweep_temporary(root: Path, now: datetime, keep: timedelta, held: Collection[str]) -> int:
    folder, gone = root / TEMP, 0
    # Files come before the folders that they lie in.
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        with _going_on(path):
            if path.is_dir():
                _kind, *date = path.relative_to(folder).parts
                if date:
                    _remove_empty(path, "/".join(date), now)
            elif note_name(path.relative_to(root).as_posix()) not in held and _age(path, now) > keep:
                path.unlink()
                gone += 1
    return gone


def _remove_empty(folder: Path, date: str, now: datetime) -> None:
    """Folders of past days only: somebody may be about to write to today's, or in a moment to tomorrow's.

    :param date: of the folder, `2026/11/27`; of a month or a year the beginning of one.
    """
    around = (now.astimezone(UTC) + timedelta(minutes=minutes) for minutes in (-10, 0, 10))
    if any(f"{at:%Y/%m/%d/}".startswith(f"{date}/") for at in around):
        return
    with suppress(OSError):  # it is not empty
        folder.rmdir()


def _age(path: Path, now: datetime) -> timedelta:
    return now - datetime.fromtimestamp(path.lstat().st_mtime, UTC)
