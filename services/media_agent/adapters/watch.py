"""Looks into a file while it grows, so that media which is too long is not read to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from millrace.errors import Poison, Retryable
from services.media_agent.domain import check_length
from services.media_agent.ports import Prober

_FIRST = 1_000_000
_TIMES = 4
_EVERY = 256_000


class LengthWatch:
    """Probes the file at 1, 4, 16, 64, 256 MB and so on, as each look costs a child process.

    :param where: finds the file; None while there is none.
    """

    def __init__(self, prober: Prober, longest: timedelta, where: Callable[[], Path | None]) -> None:
        self._prober = prober
        self._longest = longest
        self._where = where
        self._next = _FIRST
        self._look_at = 0

    async def __call__(self, size: int) -> None:
        """Told that so many bytes came. Those that have not reached the file yet do not count.

        :raises Poison: the file lasts too long already, or says that it will.
        """
        if size < self._look_at:
            return
        self._look_at = size + _EVERY
        path, written = await asyncio.to_thread(self._measured)
        if path is None or written < self._next:
            return
        while self._next <= written:
            self._next *= _TIMES
        try:
            probe = await self._prober.probe(path)
        except (Poison, Retryable):  # half a file need not be one; the whole of it is probed again
            return
        check_length(timedelta(milliseconds=probe.duration_ms), longest=self._longest)

    def _measured(self) -> tuple[Path | None, int]:
        path = self._where()
        try:
            return path, 0 if path is None else path.lstat().st_size
        except FileNotFoundError:  # it was renamed just now
            return None, 0


def largest_in(folder: Path) -> Path | None:
    """The largest file of a folder: what yt-dlp writes to, whatever it calls it."""
    sizes = []
    for path in folder.iterdir():
        try:
            sizes.append((path.lstat().st_size, path))
        except FileNotFoundError:  # a fragment that was just taken over
            continue
    return max(sizes, default=(0, None), key=lambda one: one[0])[1]
