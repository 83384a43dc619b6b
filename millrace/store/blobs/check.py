"""Tries what services do with the media store, on a small object of its own."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import httpx

from millrace.errors import MillraceError, Poison
from millrace.store.blobs.keys import TEMP
from millrace.store.blobs.port import About, BlobStore

_CONTENT: Final = b"Millrace has written this to see whether it can."
_ABOUT: Final = About({"title": "check \N{WATER WAVE}"}, "application/octet-stream")
_VALID_FOR: Final = timedelta(minutes=1)
_WITHIN_S: Final = 10.0


@dataclass(frozen=True)
class Step:
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str


async def check_store(store: BlobStore, now: datetime) -> list[Step]:
    """Write, read, fetch by a signed URL and delete; nothing is left, or something that expires."""
    key = f"{TEMP}/check/{int(now.timestamp())}-{secrets.token_hex(4)}.txt"
    steps = [await _tried("write", store.put_bytes(key, _CONTENT, _ABOUT), key)]
    if steps[0].ok:
        steps.append(await _tried("read", _read(store, key), "what was written is read back"))
        steps.append(await _tried("signed URL", _fetch(store, key), "content is fetched with it"))
        steps.append(await _tried("delete", _delete(store, key), "nothing is left"))
    return steps


async def _tried(name: str, work: Awaitable[str | None], detail: str) -> Step:
    try:
        said = await work
    except MillraceError as exc:
        return Step(name, ok=False, detail=str(exc))
    return Step(name, ok=True, detail=said or detail)


async def _read(store: BlobStore, key: str) -> None:
    if await store.read(key) != _CONTENT:
        raise Poison("the store gives other bytes than it got")


async def _fetch(store: BlobStore, key: str) -> str | None:
    url = await store.presigned(key, _VALID_FOR)
    if url is None:
        return "there are none in a local folder"
    try:
        async with httpx.AsyncClient(timeout=_WITHIN_S) as http:
            answer = await http.get(url)
    except httpx.HTTPError as exc:
        raise Poison(f"{urlsplit(url).netloc} does not answer ({type(exc).__name__})") from None
    if answer.status_code != httpx.codes.OK or answer.content != _CONTENT:
        raise Poison(f"{urlsplit(url).netloc} answers {answer.status_code}")
    return None


async def _delete(store: BlobStore, key: str) -> None:
    await store.delete(key)
    if await store.exists(key):
        raise Poison("what was deleted is still there")
