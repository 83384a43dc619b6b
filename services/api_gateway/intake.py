"""From an HTTP body to a draft of a share, reading no more of it than the limits allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path, PurePosixPath

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from millrace.contracts.share_api import ShareRequest
from millrace.store.blobs import UPLOADS, BlobStore, content_key, put_once
from services.api_gateway import domain
from services.api_gateway.errors import BadRequest, TooLarge, Unreadable, WrongType
from services.api_gateway.forms import Form, Limits, ReceivedFile, receive_form

_ESCAPED = 6  # a character of text may be written as \\u0041 in JSON
_OTHER_BYTES = 256 << 10  # the other fields and the form's own words
_LONGEST_NAME = 64  # of a field, in a refusal: the sender made it up
_DRAIN_BYTES = 64 << 20
_DRAIN_S = 5.0


class Intake:
    """Reads what somebody shares; uploads go to the media store by way of `folder`.

    `hold` is told the key of an upload before it is put there.
    """

    def __init__(
        self, blobs: BlobStore, folder: Path, limits: Limits, hold: Callable[[str], Awaitable[None]]
    ) -> None:
        self._blobs = blobs
        self._hold = hold
        self._folder = folder
        self._limits = limits

    async def read(self, request: Request, must_have_account: Callable[[str], None]) -> domain.Draft:
        """The share that a request asks for.

        :param must_have_account: raises where an account may not be charged; nothing is kept then.
        :raises RequestRefused: it cannot be one; the text says why.
        :raises Unavailable: the media store cannot take the upload.
        """
        body = request.stream()
        declared = _length(request)
        content_type = request.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        try:
            if kind == "application/json":
                draft = await self._json(body, declared)
                must_have_account(draft.account)
                return draft
            if kind == "multipart/form-data":
                return await self._form(content_type, body, declared, must_have_account)
        except TooLarge:
            await _drain(body)
            raise
        raise WrongType("Send application/json with url or text, or multipart/form-data with a file.")

    async def _json(self, body: AsyncGenerator[bytes, None], declared: int | None) -> domain.Draft:
        limit = self._limits.text * _ESCAPED + _OTHER_BYTES
        if declared is not None and declared > limit:
            raise domain.text_too_large(declared, self._limits.text)
        content = bytearray()
        async for chunk in body:
            content += chunk
            if len(content) > limit:
                raise domain.text_too_large(None, self._limits.text)
        try:
            fields = ShareRequest.model_validate_json(bytes(content))
        except ValidationError as exc:
            raise refusal(exc.errors(include_url=False, include_input=False)) from exc
        return domain.draft(fields, None, max_text_bytes=self._limits.text)

    async def _form(
        self,
        content_type: str,
        body: AsyncGenerator[bytes, None],
        declared: int | None,
        must_have_account: Callable[[str], None],
    ) -> domain.Draft:
        if declared is not None and declared > self._limits.upload + self._limits.text + _OTHER_BYTES:
            raise domain.upload_too_large(declared, self._limits.upload)
        async with receive_form(content_type, body, self._folder, self._limits) as form:
            fields = _fields(form)
            upload = None if form.file is None else _upload(form.file)
            draft = domain.draft(fields, upload, max_text_bytes=self._limits.text)
            must_have_account(draft.account)
            if form.file is not None and upload is not None:
                await self._hold(upload.blob_key)
                await put_once(self._blobs, upload.blob_key, form.file.path)
            return draft


def _upload(file: ReceivedFile) -> domain.Upload:
    key = content_key(UPLOADS, file.sha256, PurePosixPath(file.filename or "").suffix)
    return domain.Upload(key, file.filename, file.media_type)


def _fields(form: Form) -> ShareRequest:
    single: dict[str, object] = {}
    for name, values in form.fields.items():
        if name == "tags":
            single[name] = [tag.strip() for value in values for tag in value.split(",") if tag.strip()]
        elif len(values) > 1:
            raise BadRequest(f"The field {name} is given {len(values)} times.")
        elif values[0]:  # browsers send empty fields for what was left blank
            single[name] = values[0]
    try:
        return ShareRequest.model_validate(single)
    except ValidationError as exc:
        raise refusal(exc.errors(include_url=False, include_input=False)) from exc


def refusal(errors: Sequence[ErrorDetails]) -> BadRequest | Unreadable:
    """The first thing that is wrong with the fields, as one sentence; values are not repeated in it."""
    first = errors[0]
    message = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "json_invalid":
        return Unreadable(f"The body is not JSON: {message}.")
    if not first["loc"]:
        return BadRequest("The body is a JSON object with url or text, and optional fields.")
    name = str(first["loc"][0])[:_LONGEST_NAME]
    if first["type"] == "extra_forbidden":
        return BadRequest(f"There is no field {name}; see /docs for those that there are.")
    return BadRequest(f"The field {name} is not valid: {message}.")


def _length(request: Request) -> int | None:
    raw = request.headers.get("content-length", "")
    return int(raw) if raw.isdecimal() else None


async def _drain(body: AsyncGenerator[bytes, None]) -> None:
    """Take in some of what is left unread: closing at once resets the connection, and the answer never arrives."""
    left = _DRAIN_BYTES
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for chunk in body:
                left -= len(chunk)
                if left < 0:
                    return
    except TimeoutError:
        return
