"""What fetching and probing media needs from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from services.media_agent.domain import Fetched, Probe


class Fetcher(Protocol):
    """Gets a file from the public internet."""

    async def fetch(self, url: str, into: Path) -> Fetched:
        """Write what the URL holds into a file.

        :raises Poison: there is nothing to be had, it is too large, or its address is not public.
        :raises Retryable: the server does not answer, or not now.
        """
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

    async def place(self, path: Path, sha256: str, suffix: str, metadata: Mapping[str, str]) -> str:
        """Keep a file of this hash, and return its key in the media store.

        :raises Unavailable: it cannot be kept at present.
        """
        ...
