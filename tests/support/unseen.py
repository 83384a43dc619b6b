"""Progress that nobody looks at."""

from __future__ import annotations


async def unseen(_: float) -> None:
    """Told how far something is."""
