"""Multipart forms read as they arrive: fields into memory, the one file onto disk, limits on the way."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from millrace.errors import Unavailable
from services.api_gateway.domain import text_too_large, upload_too_large
from services.api_gateway.errors import BadRequest, TooLarge, Unreadable

_FLUSH_BYTES = 1 << 20  # hand-overs to the writing thread are worth it from about here
_FIELD_BYTES = 64 << 10  # every field but the text
_PARTS = 100
_FILE_PART = "file"
_NO_FILE = (None, "application/octet-stream")  # with no bytes: a browser's file field that was left blank


@dataclass(frozen=True)
class Limits:
    """The most bytes an upload and a text share may have."""

    upload: int
    text: int


@dataclass(frozen=True)
class ReceivedFile:
    """A file on disk, complete; it is deleted when the form's context ends."""

    path: Path
    size: int
    sha256: str
    filename: str | None
    media_type: str | None


@dataclass
class Form:
    """A form that was read to its end; fields may be repeated."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    file: ReceivedFile | None = None


@asynccontextmanager
async def receive_form(
    content_type: str, body: AsyncIterator[bytes], folder: Path, limits: Limits
) -> AsyncIterator[Form]:
    """Read a form; its file lives in `folder` until the context ends.

    :raises Unreadable: it is not a form, or ends too early.
    :raises BadRequest: a second file, an empty one, or a file under another name than `file`.
    :raises TooLarge: the file or a field is above its limit; the rest of the body is unread.
    :raises Unavailable: the folder cannot be written, or its disk is full.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Unreadable("The form's content type names no boundary.")
    with _upload_in(folder) as (target, path):
        reader = _Reader(boundary, target, limits)
        async for chunk in body:
            await reader.feed(chunk)
        yield await reader.finish(path)


@contextmanager
def _upload_in(folder: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A file to write to, and where it is until the context ends."""
    with _kept():
        target = tempfile.NamedTemporaryFile(dir=folder, prefix="upload-")  # noqa: SIM115 - closed below
    try:
        yield target.file, Path(target.name)
    finally:
        with suppress(OSError):  # a full disk says no once more, and what is left is swept at another start
            target.close()


@contextmanager
def _kept() -> Iterator[None]:
    """Failures of a disk would pass for the database's, which are `OSError`, too."""
    try:
        yield
    except OSError as exc:
        raise Unavailable(f"The upload cannot be kept: {exc.strerror or type(exc).__name__}.") from exc


class _Reader:
    """Callbacks of the parser, which must not wait: file bytes gather in memory until `feed` writes them out."""

    def __init__(self, boundary: bytes, target: IO[bytes], limits: Limits) -> None:
        self._target = target
        self._limits = limits
        self._form = Form()
        self._hash = hashlib.sha256()
        self._unwritten = bytearray()
        self._file_size = 0
        self._file: tuple[str | None, str | None] | None = None
        self._parts = 0
        self._ended = False
        self._new_part()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._new_part,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as exc:
            raise Unreadable("The form's boundary cannot be used.") from exc

    async def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise Unreadable("The body is not the multipart form that its content type promises.") from exc
        if len(self._unwritten) >= _FLUSH_BYTES:
            await self._flush()

    async def finish(self, path: Path) -> Form:
        if not self._ended:
            raise Unreadable("The form ends before its last boundary; send it again.")
        await self._flush()
        if self._file is not None and (self._file != _NO_FILE or self._file_size):
            filename, media_type = self._file
            if self._file_size == 0:
                raise BadRequest("The file is empty; share one that has something in it.")
            self._form.file = ReceivedFile(path, self._file_size, self._hash.hexdigest(), filename, media_type)
        return self._form

    async def _flush(self) -> None:
        content, self._unwritten = self._unwritten, bytearray()
        await asyncio.to_thread(self._write, content)

    def _write(self, content: bytearray) -> None:
        self._hash.update(content)
        with _kept():
            self._target.write(content)
            self._target.flush()

    def _new_part(self) -> None:
        self._name = ""
        self._value: bytearray | None = None  # None while the part is the file
        self._headers: dict[str, str] = {}
        self._header = (bytearray(), bytearray())

    def _header_end(self) -> None:
        name, value = self._header
        # Browsers and httpx send UTF-8 in file names as it is (WHATWG); parse_options_header goes through latin-1.
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise TooLarge(f"The form has more than {_PARTS} parts.")
        _, options = parse_options_header(self._headers.get("content-disposition"))
        self._name = _text(options.get(b"name", b""), "name of a field")
        if b"filename" not in options:
            self._value = bytearray()
            return
        if self._name != _FILE_PART:
            raise BadRequest(f"The file is expected in the part {_FILE_PART}, not in {self._name!r}.")
        if self._file is not None:
            raise BadRequest("The form has more than one file; share them one at a time.")
        self._file = (options[b"filename"].decode("utf-8", "replace") or None, self._headers.get("content-type"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._value is None:
            self._file_size += size
            if self._file_size > self._limits.upload:
                raise upload_too_large(None, self._limits.upload)
            self._unwritten += data[start:end]
            return
        is_text = self._name == "text"
        if len(self._value) + size > (self._limits.text if is_text else _FIELD_BYTES):
            if is_text:
                raise text_too_large(None, self._limits.text)
            raise TooLarge(f"The field {self._name} is longer than {_FIELD_BYTES >> 10} KiB.")
        self._value += data[start:end]

    def _part_end(self) -> None:
        if self._value is not None:
            value = _text(bytes(self._value), f"field {self._name}")
            self._form.fields.setdefault(self._name, []).append(value)

    def _end(self) -> None:
        self._ended = True


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise Unreadable(f"The {what} is not UTF-8 text.") from exc
