"""Downloads from S3 that go on where they broke off. Bytes of two objects are never mixed."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from millrace.errors import Unavailable
from millrace.store.blobs.port import Progress
from millrace.store.blobs.s3_errors import CUT_OFF, status_of
from millrace.store.blobs.s3_upload import Place

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import GetObjectOutputTypeDef

log = logging.getLogger(__name__)

TRIES: Final = 5
"""Requests in a row that bring nothing new before it is given up."""
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 5.0
_CHUNK_BYTES: Final = 1 << 18
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
CHANGED: Final = (412, 416)
"""The object is another one now, or shorter than what we have of it."""


@dataclass
class _Got:
    """What is there of the object with this ETag: `size` bytes in all, `done` of them."""

    etag: str = ""
    size: int = 0
    done: int = 0

    @property
    def whole(self) -> bool:
        return bool(self.etag) and self.done == self.size


async def download(
    client: S3Client,
    place: Place,
    into: IO[bytes],
    progress: Progress | None = None,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> int:
    """Write an object into an empty file; returns its size in bytes.

    :raises ClientError: S3 refuses.
    :raises Unavailable: it does not answer, or breaks off again and again.
    """
    got, vain, wait_s = _Got(), 0, _FIRST_WAIT_S
    while not got.whole:
        before = got.done
        try:
            await _more(client, place, got, into, progress)
        except ClientError as exc:
            if status_of(exc) not in CHANGED:
                raise
            got = _Got()
        except CUT_OFF as exc:
            if not got.etag:  # no answer at all, and the client has asked a few times
                raise
            log.info("download of %s broke off at %d of %d bytes: %s", place["Key"], got.done, got.size, type(exc))
        if got.whole:
            break
        vain, wait_s = (0, _FIRST_WAIT_S) if got.done > before else (vain + 1, min(wait_s * 2, _LONGEST_WAIT_S))
        if vain >= TRIES:
            raise Unavailable("S3 breaks off in the middle of what it sends: is the network all right?")
        await sleep(wait_s)
    await asyncio.to_thread(into.truncate, got.size)
    return got.size


async def _more(client: S3Client, place: Place, got: _Got, into: IO[bytes], progress: Progress | None) -> None:
    """Ask for what is missing, and write it as it comes."""
    if got.done:
        answer = await client.get_object(**place, Range=f"bytes={got.done}-", IfMatch=got.etag)
    else:
        answer = await client.get_object(**place)
    start, size = stretch(answer)
    body = answer["Body"]
    async with body:
        if start and (start != got.done or answer["ETag"] != got.etag):  # a server that knows no conditions
            got.etag, got.done = "", 0
            return
        got.etag, got.done, got.size = answer["ETag"], start, size
        await asyncio.to_thread(into.seek, start)
        async for chunk in body.iter_chunks(_CHUNK_BYTES):
            await asyncio.to_thread(_write, into, chunk)
            got.done += len(chunk)
            if progress is not None:
                await progress(got.done, got.size)


def _write(into: IO[bytes], chunk: bytes) -> None:
    try:
        into.write(chunk)
    except OSError as exc:  # not a connection that was cut off
        raise Unavailable(f"the folder for temporary files cannot be written: {exc.strerror or exc}") from exc


def stretch(answer: GetObjectOutputTypeDef) -> tuple[int, int]:
    """First byte of an answer, and the size of the whole object."""
    found = _RANGE.fullmatch(answer.get("ContentRange", ""))
    return (int(found[1]), int(found[2])) if found else (0, answer["ContentLength"])
