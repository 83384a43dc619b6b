"""Uploads to S3: a small file in one request, a large one in parts. The object is there whole or not at all.

An upload whose process was killed leaves no object; its parts are removed by the rule of `millrace storage setup`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final, TypedDict

from botocore.exceptions import ClientError

from millrace.store.blobs.port import LocalFailure, Progress
from millrace.store.blobs.s3_errors import CUT_OFF, code_of

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef

log = logging.getLogger(__name__)

PART_BYTES: Final = 8 << 20
"""What is held in memory of a file. Smaller files go in one request."""
SENT_WITHIN_S: Final = 120.0
"""For one part and its tries; the client has no limit for a server that stops reading."""
_MOST_PARTS: Final = 10_000
"""S3's limit (https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""
_ABORT_WITHIN_S: Final = 10.0


class Place(TypedDict):
    """Where an object lies, as parameters of the client."""

    Bucket: str
    Key: str


def part_size(size: int, part: int = PART_BYTES) -> int:
    """Bytes a part of a file of so many bytes."""
    return max(part, -(-size // _MOST_PARTS))


async def upload(
    client: S3Client,
    place: Place,
    source: IO[bytes],
    size: int,
    more: Mapping[str, object],
    *,
    progress: Progress | None = None,
    part: int = PART_BYTES,
) -> None:
    """Put an open file of so many bytes there; every request is tried again by the client a few times.

    :param more: parameters for metadata, type and encryption.
    :raises ClientError: S3 refuses; other errors of the client when it does not answer.
    :raises LocalFailure: the file cannot be read.
    """
    part = part_size(size, part)
    if size <= part:
        content = await asyncio.to_thread(_read, source)
        async with asyncio.timeout(SENT_WITHIN_S):
            await client.put_object(**place, Body=content, **more)  # type: ignore[arg-type]  # as `more` says
        await _tell(progress, size, size)
        return
    began = await client.create_multipart_upload(**place, **more)  # type: ignore[arg-type]  # as `more` says
    upload_id = began["UploadId"]
    try:
        parts: list[CompletedPartTypeDef] = []
        sent = 0
        while content := await asyncio.to_thread(_read, source, part):
            number = len(parts) + 1
            async with asyncio.timeout(SENT_WITHIN_S):
                done = await client.upload_part(**place, UploadId=upload_id, PartNumber=number, Body=content)
            parts.append({"ETag": done["ETag"], "PartNumber": number})
            sent += len(content)
            await _tell(progress, sent, size)
        await _complete(client, place, upload_id, parts, sent)
    except BaseException:
        await _abort(client, place, upload_id)
        raise


def _read(source: IO[bytes], most: int = -1) -> bytes:
    try:
        return source.read(most)
    except OSError as exc:  # not a connection that was cut off
        raise LocalFailure(f"the file for the media store cannot be read: {exc.strerror or exc}") from exc


async def _complete(
    client: S3Client, place: Place, upload_id: str, parts: list[CompletedPartTypeDef], size: int
) -> None:
    try:
        await client.complete_multipart_upload(**place, UploadId=upload_id, MultipartUpload={"Parts": parts})
    except ClientError as exc:
        # The client has asked again after an answer that was lost, and the first request has done it.
        if code_of(exc) != "NoSuchUpload" or (await client.head_object(**place))["ContentLength"] != size:
            raise


async def _abort(client: S3Client, place: Place, upload_id: str) -> None:
    """Give up the parts, also when this task is being cancelled; what cannot be given up now expires."""

    async def abort() -> None:
        with suppress(ClientError, *CUT_OFF):
            async with asyncio.timeout(_ABORT_WITHIN_S):
                await client.abort_multipart_upload(**place, UploadId=upload_id)
                return
        log.warning("an upload to %s could not be given up; its parts stay until the bucket's rule", place["Key"])

    giving_up, cancelled = asyncio.create_task(abort()), False
    while not giving_up.done():
        try:
            await asyncio.shield(giving_up)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


async def _tell(progress: Progress | None, done: int, of: int) -> None:
    if progress is not None:
        await progress(done, of)
