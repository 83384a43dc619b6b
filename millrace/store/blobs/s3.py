"""The media store over S3 and what speaks its protocol. Needs the package aioboto3."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from millrace.errors import ConfigurationError, Unavailable
from millrace.settings import StorageSettings
from millrace.store.blobs.counters import S3_UPLOAD_ERRORS, S3_UPLOADS
from millrace.store.blobs.keys import UPLOADS, check_key
from millrace.store.blobs.kinds import safe_type
from millrace.store.blobs.metadata import decode, encode
from millrace.store.blobs.part import ByteRange, Part
from millrace.store.blobs.port import NOTHING, About, BlobMissing, LocalFailure, Progress
from millrace.store.blobs.s3_download import download
from millrace.store.blobs.s3_errors import code_of, status_of, translated
from millrace.store.blobs.s3_part import part_of
from millrace.store.blobs.s3_upload import PART_BYTES, Place, upload

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

LONGEST_PRESIGNED: Final = timedelta(days=7)
"""Signatures of version 4 are valid no longer."""
_TRIES: Final = 3
_CONNECT_WITHIN_S: Final = 3.0
_SILENT_S: Final = 20.0
_DEFAULT_REGION: Final = "us-east-1"
"""What servers that are not Amazon's call theirs, or do not look at."""


@dataclass(frozen=True)
class Kept:
    """What S3 says of an object."""

    size: int
    etag: str
    about: About
    encryption: str | None


class S3BlobStore:
    """A bucket.

    :param encryption: `AES256`, `aws:kms`, or None to leave it to the bucket.
    :param public_base_url: where everybody reads the bucket's content, a CDN for instance.
    :param scratch: folder for what is lent, which somebody sweeps; the machine's own for temporary files by default.
    :param part: bytes of a file that are sent at a time.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        *,
        encryption: str | None = "AES256",
        public_base_url: str | None = None,
        scratch: Path | None = None,
        part: int = PART_BYTES,
    ) -> None:
        self.client = client
        self.bucket = bucket
        self._encryption = encryption
        self._public = public_base_url.rstrip("/") if public_base_url else None
        self._scratch = scratch
        self._part = part

    async def put_file(self, key: str, path: Path, about: About = NOTHING, progress: Progress | None = None) -> None:
        """Upload a file, a part at a time."""
        try:
            source = await asyncio.to_thread(path.open, "rb")
        except OSError as exc:
            raise LocalFailure(f"the file for the media store cannot be read: {exc.strerror or exc}") from exc
        with source:
            await self._put(key, source, os.fstat(source.fileno()).st_size, about, progress)

    async def put_bytes(self, key: str, content: bytes, about: About = NOTHING) -> None:
        """Upload bytes."""
        await self._put(key, io.BytesIO(content), len(content), about)

    async def exists(self, key: str) -> bool:
        """Whether the object is there."""
        return await self.kept(key) is not None

    async def kept(self, key: str) -> Kept | None:
        """What is kept under the key; None for nothing.

        :raises Unavailable: S3 does not answer, or there is no such bucket.
        """
        place = self._place(key)
        with translated():
            try:
                found = await self.client.head_object(**place)
            except ClientError as exc:
                if status_of(exc) != 404:
                    raise
                # An answer to HEAD has no text: is it the bucket that is missing?
                await self._look_for_bucket()
                return None
        about = About(decode(found["Metadata"]), found.get("ContentType"))
        return Kept(found["ContentLength"], found["ETag"], about, found.get("ServerSideEncryption"))

    async def read(self, key: str) -> bytes:
        """The object's bytes."""
        into = io.BytesIO()
        await self._download(key, into)
        return into.getvalue()

    @asynccontextmanager
    async def local_copy(self, key: str, progress: Progress | None = None) -> AsyncIterator[Path]:
        """A temporary file with the object's bytes, named as it is."""
        name = check_key(key)[-1]
        try:
            if self._scratch is not None:
                await asyncio.to_thread(self._scratch.mkdir, parents=True, exist_ok=True)
            lent = tempfile.TemporaryDirectory(prefix="blob-", dir=self._scratch, ignore_cleanup_errors=True)
        except OSError as exc:
            raise Unavailable(f"the folder for temporary files cannot be written: {exc.strerror or exc}") from exc
        with lent as folder:
            path = Path(folder, name)
            with await asyncio.to_thread(path.open, "xb") as file:
                await self._download(key, file, progress)
            yield path

    @asynccontextmanager
    async def part(self, key: str, wanted: ByteRange) -> AsyncIterator[Part]:
        """A part of the object, by one request as long as nothing breaks off."""
        async with AsyncExitStack() as stack:
            with translated(), _found(key):
                part = await stack.enter_async_context(part_of(self.client, self._place(key), wanted))
            yield part

    async def delete(self, key: str) -> None:
        """Delete the object."""
        with translated():
            await self.client.delete_object(**self._place(key))

    async def url(self, key: str) -> str:
        """Below the public base URL if there is one, otherwise `s3://bucket/key`."""
        check_key(key)
        return f"{self._public}/{key}" if self._public else f"s3://{self.bucket}/{key}"

    async def presigned(self, key: str, expires: timedelta) -> str | None:
        """A URL that reads the object; whether there is one is not looked at.

        :raises ValueError: `expires` is not between a second and seven days.
        """
        if not timedelta(seconds=1) <= expires <= LONGEST_PRESIGNED:
            raise ValueError("a presigned URL is valid for a second to seven days")
        with translated():
            return await self.client.generate_presigned_url(
                "get_object", Params=dict(self._place(key)), ExpiresIn=int(expires.total_seconds())
            )

    async def _put(
        self, key: str, source: IO[bytes], size: int, about: About, progress: Progress | None = None
    ) -> None:
        place = self._place(key)
        more: dict[str, object] = {"Metadata": encode(about.metadata)}
        more["ContentType"] = safe_type(key, about.content_type)
        if key.startswith(f"{UPLOADS}/"):  # people have made it: it is saved, and shown nowhere
            more["ContentDisposition"] = "attachment"
        if self._encryption is not None:
            more["ServerSideEncryption"] = self._encryption
        try:
            with translated():
                await upload(self.client, place, source, size, more, progress=progress, part=self._part)
        except Unavailable as exc:
            if not isinstance(exc, LocalFailure):
                S3_UPLOAD_ERRORS.inc()
            raise
        S3_UPLOADS.inc()

    async def _download(self, key: str, into: IO[bytes], progress: Progress | None = None) -> None:
        with translated(), _found(key):
            await download(self.client, self._place(key), into, progress)

    async def _look_for_bucket(self) -> None:
        """:raises ClientError: `NoSuchBucket`, or S3 refuses."""
        try:
            await self.client.head_bucket(Bucket=self.bucket)
        except ClientError as exc:
            if status_of(exc) == 404:
                exc.response["Error"]["Code"] = "NoSuchBucket"
            raise

    def _place(self, key: str) -> Place:
        check_key(key)
        return {"Bucket": self.bucket, "Key": key}


@contextmanager
def _found(key: str) -> Iterator[None]:
    """:raises BlobMissing: S3 has no such object."""
    try:
        yield
    except ClientError as exc:
        if code_of(exc) != "NoSuchKey":
            raise
        raise BlobMissing(f"{key} is not in the media store any more: share it again") from None


@asynccontextmanager
async def open_client(settings: StorageSettings) -> AsyncIterator[S3Client]:
    """A client as the settings say; it asks for nothing yet.

    :raises ConfigurationError: the endpoint is no URL.
    """
    key, secret, token = settings.s3_access_key_id, settings.s3_secret_access_key, settings.s3_session_token
    config = AioConfig(
        signature_version="s3v4",
        s3={"addressing_style": "path" if settings.s3_path_style else "auto"},
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        connect_timeout=_CONNECT_WITHIN_S,
        read_timeout=_SILENT_S,
        # Servers of others know no trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = aioboto3.Session(
        aws_access_key_id=key.get_secret_value() if key and secret else None,
        aws_secret_access_key=secret.get_secret_value() if key and secret else None,
        aws_session_token=token.get_secret_value() if key and secret and token else None,
    )
    region = settings.s3_region or (_DEFAULT_REGION if settings.s3_endpoint else None)
    async with AsyncExitStack() as stack:
        making = session.client("s3", region_name=region, endpoint_url=settings.s3_endpoint, config=config)
        try:
            client = await stack.enter_async_context(making)
        except ValueError:
            raise ConfigurationError("MILLRACE_S3_ENDPOINT is not a URL: give http(s)://host:port") from None
        client.meta.events.register_last("before-call.s3", _expect_nothing)
        yield client


def _expect_nothing(params: dict[str, Any], **_: object) -> None:
    """Send content without a question first: aiohttp waits for the answer to it without any limit of time."""
    params["headers"].pop("Expect", None)
