"""What an agent and a model's child process say to each other, one frame after another over two pipes.

A frame is its kind (one byte), the length of a JSON document (4 bytes), the length of raw bytes (8 bytes), and both.
The agent sends `LOAD` once and then `ASK`; the child answers `READY` once, and every `ASK` with any number of `TOLD`
and one `DONE` or `FAILED`.
"""

from __future__ import annotations

import asyncio
import struct
from typing import BinaryIO, Final, Literal, NamedTuple

from pydantic import BaseModel, JsonValue

_HEAD: Final = struct.Struct(">cIQ")

LOAD: Final = b"L"
ASK: Final = b"A"
READY: Final = b"R"
TOLD: Final = b"T"
DONE: Final = b"D"
FAILED: Final = b"F"

EXIT_MEMORY: Final = 4
"""Exit status of a child that could not even read a question in the memory that it may have."""


class Frame(NamedTuple):
    """A kind, a JSON document and what is too large for JSON: sound, vectors."""

    kind: bytes
    document: bytes = b""
    body: bytes = b""

    def packed(self) -> bytes:
        """Its bytes, but for the body, which goes behind them."""
        return _HEAD.pack(self.kind, len(self.document), len(self.body)) + self.document


class Load(BaseModel):
    """What a child becomes: `function` is `package.module:name`, called with the settings to get a `Work`."""

    function: str
    settings: dict[str, JsonValue]
    memory_mb: int | None


class Failed(BaseModel):
    """Why there is no answer; `route` is the error's type, where the child may choose it."""

    route: Literal["configuration", "memory", "poison", "retryable", "unforeseen"]
    reason: str


def read_from(file: BinaryIO) -> Frame | None:
    """The next frame; None at the end of the pipe, also in the middle of a frame."""
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, documented, embodied = _HEAD.unpack(head)
    document, body = file.read(documented), file.read(embodied)
    return Frame(kind, document, body) if len(document) == documented and len(body) == embodied else None


def write_to(file: BinaryIO, frame: Frame) -> None:
    """Send a frame."""
    file.write(frame.packed())
    file.write(frame.body)
    file.flush()


async def read(reader: asyncio.StreamReader) -> Frame | None:
    """As `read_from`."""
    try:
        kind, documented, embodied = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return Frame(kind, await reader.readexactly(documented), await reader.readexactly(embodied))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
