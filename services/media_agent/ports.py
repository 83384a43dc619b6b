"""What fetching and probing media needs from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from services.media_agent.domain import Caption, Fetched, Probe

Progress = Callable[[float], Awaitable[None]]
"""Told how far something is, 0 to 1."""
Sent = Callable[[int, int], Awaitable[None]]
"""Told how many bytes of how many are done, as the media store tells it."""


class Fetcher(Protocol):
    """Gets media from the public internet."""

    async def fetch(self, url: str, into: Path, progress: Progress) -> Fetched | Caption:
        """Write the media that a URL holds or leads to into a file; or what its page says, where there is none.

        :param progress: told while it is read, where its size is known.
        :raises Poison: there is nothing to be had, it is too large or too long, or its address is not public.
        :raises Retryable: the server does not answer, or not now.
        """
        ...


class Extractions(Protocol):
    """Remembers for an hour what was extracted from pages."""

    async def find(self, url: str) -> dict[str, JsonValue] | None:
        """What was kept for this URL within the last hour."""
        ...

    async def keep(self, url: str, info: dict[str, JsonValue]) -> None:
        """Keep it, if it is not too large and can be kept, and forget what is older than an hour."""
        ...

    async def forget(self, url: str) -> None:
        """Forget what was kept for this URL, which is of no use."""
        ...


class Prober(Protocol):
    """Looks into media files that nobody vouches for."""

    async def probe(self, path: Path) -> Probe:
        """What the file holds.

        :raises Poison: it is not a media file.
        :raises Retryable: probing was cut off by this machine.
        """
        ...


class Shelf(Protocol):
    """Keeps fetched media, the same content once."""

    async def place(self, path: Path, sha256: str, suffix: str, metadata: Mapping[str, str], progress: Sent) -> str:
        """Keep a file of this hash, and return its key in the media store.

        :raises Unavailable: it cannot be kept at present.
        """
        ...
