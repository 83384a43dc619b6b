"""Removes from a store's folder what killed writers and readers left, and media that has expired."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from millrace.store.blobs.keys import TEMP
from millrace.store.blobs.local import INCOMING, LENT

ABANDONED_AFTER: Final = timedelta(days=1)
"""Nobody writes or reads a file for so long."""


def sweep_store(root: Path, now: datetime, *, keep: timedelta, held: Collection[Path] = ()) -> int:
    """Sweep a store's folder: leftovers of a day, and temporary media that is older than `keep`.

    :param held: files that stay whatever their age.
    :return: how many files of temporary media went.
    :raises OSError: the folder cannot be read or changed.
    """
    sweep(root / INCOMING, "tmp*", now)
    for lent in (root / LENT).glob("*"):
        with suppress(FileNotFoundError):
            if _age(lent, now) > ABANDONED_AFTER:
                shutil.rmtree(lent)
    return _sweep_temporary(root / TEMP, now, keep, held)


def sweep(folder: Path, pattern: str, now: datetime) -> None:
    """Remove files by a pattern of their names that nobody has written to for a day; nothing without the folder.

    :raises OSError: the folder cannot be read or changed.
    """
    for left in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process sweeps, too, or the writer is just ready
            if _age(left, now) > ABANDONED_AFTER:
                left.unlink()


def _sweep_temporary(folder: Path, now: datetime, keep: timedelta, held: Collection[Path]) -> int:
    gone = 0
    # Files come before the folders that they lie in.
    for path in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        with suppress(FileNotFoundError):
            if path.is_dir():
                _kind, *date = path.relative_to(folder).parts
                if date:
                    _remove_empty(path, "/".join(date), now)
            elif path not in held and _age(path, now) > keep:
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
    return now - datetime.fromtimestamp(path.stat().st_mtime, UTC)
