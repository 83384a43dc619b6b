"""Asking an HTTP server whether it is there."""

from __future__ import annotations

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


async def answers_ok(url: str) -> bool:
    """Whether a GET is answered with 200; False while nobody listens. Cheap enough to ask ten times a second."""
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, session.get(url) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False
