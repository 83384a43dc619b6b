"""Moves to S3 what went to the local folder while S3 was away. kill -9 at any point loses nothing.

Its file stays until S3 has the object with the same size, and its note until the file is gone; each step may be done
again. Two processes do not heal the same folder at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from millrace.errors import Unavailable
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.markers import Marked
from millrace.store.blobs.port import LocalFailure, Refused

log = logging.getLogger(__name__)

_WRITTEN_WITHIN: Final = timedelta(hours=1)
"""A note without its file is that of a writer which is still copying, or was killed."""

_MOST_REFUSED: Final = 5
"""One file that S3 will not take does not hold the others up; so many are no matter of files."""


@dataclass
class Healed:
    """What came of a look: `moved` files, `left` ones, and why they are left if S3 is why."""

    moved: int = 0
    left: int = 0
    reason: str | None = None


async def heal(store: FallbackBlobStore, now: datetime, report: Callable[[str], object] = log.debug) -> Healed:
    """Move what is noted until S3 fails: the oldest first, and what S3 did not take the last time at the end.

    A file that cannot be read or removed here is said and left.

    :param report: told of each file.
    :raises Unavailable: the folder cannot be read or changed.
    """
    try:
        with store.markers.sole_healer() as alone:
            noted = await asyncio.to_thread(store.markers.all)
            if not alone:
                return Healed(left=len(noted), reason="another process is healing the folder" if noted else None)
            return await _heal(store, noted, now, report)
    except OSError as exc:
        raise Unavailable(f"the media store cannot be healed: {exc.strerror or exc}") from exc


async def _heal(
    store: FallbackBlobStore, noted: list[Marked], now: datetime, report: Callable[[str], object]
) -> Healed:
    done, refused = Healed(left=len(noted)), 0
    for marked in noted:
        try:
            size = await asyncio.to_thread(_size, store.local.path(marked.key))
            if not store.breaker.lets_through():
                done.reason = "S3 does not work at present"
                break
            async with store.moving():
                moved = await _move(store, marked, size, now)
        except LocalFailure as exc:  # that of one file: the others are moved all the same
            log.warning("%s cannot go to S3: %s", marked.key, exc)
            done.reason = str(exc)
            continue
        except Unavailable as exc:
            done.reason = str(exc)
            refused += 1
            await asyncio.to_thread(store.markers.postpone, marked)  # it may be the only one that S3 does not take
            if not isinstance(exc, Refused) or refused == _MOST_REFUSED:
                break
            continue
        if moved:
            report(f"{marked.key} is in S3")
        done.moved += moved
        done.left -= moved
    return done


async def _move(store: FallbackBlobStore, marked: Marked, size: int | None, now: datetime) -> bool:
    """False: it is left as it is for now."""
    path = store.local.path(marked.key)
    with store.judged():  # and no longer: once the file is gone, who looks for it asks S3
        there = await _sent(store, marked, path, size)
    if size is None:
        return await _forget(store, marked, now, there=there)
    try:
        await store.local.delete(marked.key)
    except Unavailable as exc:
        raise LocalFailure(str(exc)) from exc
    await asyncio.to_thread(store.markers.forget, marked)
    return True


async def _sent(store: FallbackBlobStore, marked: Marked, path: Path, size: int | None) -> bool:
    """Whether S3 has it; a file that is here it has then.

    :raises Unavailable: it has not.
    """
    kept = await store.s3.kept(marked.key)
    if size is None:
        return kept is not None
    if kept is None or kept.size != size:
        await store.s3.put_file(marked.key, path, marked.about)
        kept = await store.s3.kept(marked.key)
    if kept is None or kept.size != size:
        raise Unavailable(f"S3 has taken {marked.key} and does not have it")
    return True


async def _forget(store: FallbackBlobStore, marked: Marked, now: datetime, *, there: bool) -> bool:
    """A note whose file is gone: healed but for the note, or never written."""
    if not there and now - marked.since < _WRITTEN_WITHIN:
        return False
    await asyncio.to_thread(store.markers.forget, marked)
    return True


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise LocalFailure(f"its file cannot be read: {exc.strerror or exc}") from exc
