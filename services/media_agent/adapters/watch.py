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


class LengthWatch:
    """Probes at 1, 4, 16, 64, 256 MB and so on: each look costs a child process, and a fifth of what was read.

    :param where: finds the file; None while there is none.
    """

    def __init__(self, prober: Prober, longest: timedelta, where: Callable[[], Path | None]) -> None:
        self._prober = prober
        self._longest = longest
        self._where = where
        self._next = _FIRST

    async def __call__(self, size: int) -> None:
        """Told that so many bytes came.

        :raises Poison: the file lasts too long already, or says that it will.
        """
        if size < self._next:
            return
        while self._next <= size:
            self._next *= _TIMES
        path = await asyncio.to_thread(self._where)
        if path is None:
            return
        try:
            probe = await self._prober.probe(path)
        except (Poison, Retryable):  # half a file need not be one; the whole of it is probed again
            return
        check_length(timedelta(milliseconds=probe.duration_ms), longest=self._longest)


def largest_in(folder: Path) -> Path | None:
    """The largest file of a folder: what yt-dlp writes to, whatever it calls it."""
    sizes = []
    for path in folder.iterdir():
        try:
            sizes.append((path.lstat().st_size, path))
        except FileNotFoundError:  # a fragment that was just taken over
            continue
    return max(sizes, default=(0, None), key=lambda one: one[0])[1]
