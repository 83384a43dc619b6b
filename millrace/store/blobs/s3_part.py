"""A part of an object in S3, as it comes. Where it breaks off it is asked for again, of the same object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from millrace.errors import Unavailable
from millrace.store.blobs.part import BeyondEnd, ByteRange, Part
from millrace.store.blobs.s3_download import CHANGED, TRIES, stretch
from millrace.store.blobs.s3_errors import CUT_OFF, status_of, translated
from millrace.store.blobs.s3_upload import Place

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import GetObjectOutputTypeDef

log = logging.getLogger(__name__)

_CHUNK_BYTES: Final = 1 << 18
_WAIT_S: Final = 0.2
_ANOTHER: Final = "what is kept in S3 is another object now: ask for it again"


@asynccontextmanager
async def part_of(client: S3Client, place: Place, wanted: ByteRange) -> AsyncIterator[Part]:
    """The part; no more than it is asked for.

    :raises ClientError: S3 refuses.
    :raises BeyondEnd: there is no such part.
    """
    try:
        answer = await client.get_object(**place, Range=wanted.header)
    except ClientError as exc:
        if status_of(exc) != 416:
            raise
        raise BeyondEnd((await client.head_object(**place))["ContentLength"]) from None
    _, size = stretch(answer)
    start, stop = wanted.within(size)
    chunks = _chunks(client, place, answer, start, stop)
    try:
        yield Part(start, stop, size, chunks)
    finally:
        await chunks.aclose()
        answer["Body"].close()


async def _chunks(
    client: S3Client, place: Place, answer: GetObjectOutputTypeDef, start: int, stop: int
) -> AsyncGenerator[bytes, None]:
    etag, done, vain = answer["ETag"], start, 0
    with translated():
        while True:
            before = done
            try:
                async with aclosing(_of(answer, done, stop)) as coming:
                    async for chunk in coming:
                        yield chunk
                        done += len(chunk)
            except CUT_OFF as exc:
                log.info("a part of %s broke off at %d of %d bytes: %s", place["Key"], done, stop, type(exc))
            if done >= stop:
                return
            vain = 0 if done > before else vain + 1
            if vain >= TRIES:
                raise Unavailable("S3 breaks off in the middle of what it sends: is the network all right?")
            await asyncio.sleep(_WAIT_S * vain)
            answer = await _again(client, place, ByteRange(done, stop - 1), etag)


async def _again(client: S3Client, place: Place, wanted: ByteRange, etag: str) -> GetObjectOutputTypeDef:
    try:
        answer = await client.get_object(**place, Range=wanted.header, IfMatch=etag)
    except ClientError as exc:
        if status_of(exc) not in CHANGED:
            raise
        raise Unavailable(_ANOTHER) from None
    if answer["ETag"] != etag:  # a server that knows no conditions
        answer["Body"].close()
        raise Unavailable(_ANOTHER)
    return answer


async def _of(answer: GetObjectOutputTypeDef, done: int, stop: int) -> AsyncGenerator[bytes, None]:
    """What the answer has of it; a server that knows no ranges sends all."""
    at, _ = stretch(answer)
    body = answer["Body"]
    async with body:
        async for chunk in body.iter_chunks(_CHUNK_BYTES):
            piece = chunk[max(0, done - at) : max(0, stop - at)]
            at += len(chunk)
            if piece:
                yield piece
                done += len(piece)
            if at >= stop:
                return
