"""Transcripts that are too large for an event: their segments lie in the media store, as a JSON list."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from pydantic import TypeAdapter

from millrace.contracts.events import Segment
from millrace.errors import Poison
from millrace.store.blobs import BlobStore, content_key

INLINE_LIMIT = 512 * 1024
"""Bytes of JSON up to which segments travel in the event itself."""

_SEGMENTS = TypeAdapter(list[Segment])
_DECODER: Final = json.JSONDecoder()
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_AT_A_TIME: Final = 100


async def keep_large(blobs: BlobStore, segments: list[Segment]) -> str | None:
    """Store segments whose JSON is above `INLINE_LIMIT`.

    :return: their key in the media store, or None when they are small enough for an event.
    """
    raw = _SEGMENTS.dump_json(segments)
    if len(raw) <= INLINE_LIMIT:
        return None
    # Not under the prefix of temporary media: a transcript outlives the media that it was made from.
    key = content_key("transcripts", hashlib.sha256(raw).hexdigest(), ".json")
    await blobs.put_bytes(key, raw)
    return key


async def read_segments(blobs: BlobStore, key: str) -> list[Segment]:
    """The segments that `keep_large` stored. However many there are, nothing else in the process waits for them.

    :raises BlobMissing: they are gone.
    :raises Poison: what lies there is not a list of segments.
    """
    raw = await blobs.read(key)
    try:
        return await asyncio.to_thread(_checked, raw)
    except ValueError as exc:  # pydantic's errors and those of bytes that are no text are among them
        raise Poison(f"{key} in the media store does not hold the segments of a transcript") from exc


def _checked(raw: bytes) -> list[Segment]:
    """Piece by piece: one call for all of them holds Python's lock for most of a second, also in a thread."""
    items, found = _items(raw.decode()), list[Segment]()
    while piece := list(islice(items, _AT_A_TIME)):
        found += _SEGMENTS.validate_python(piece)
    return found


def _items(text: str) -> Iterator[object]:
    """What a JSON list has in it.

    :raises ValueError: it is none.
    """
    at, end = _next(text, 0, "[")
    while not end:
        item, at = _DECODER.raw_decode(text, at)
        yield item
        at, end = _next(text, at, ",")
    if at != len(text):
        raise ValueError("there is more behind the list")


def _next(text: str, at: int, sign: str) -> tuple[int, bool]:
    """Where the item behind a sign begins; or what is behind the list, and that it has ended."""
    at = _behind_space(text, at)
    if sign == "," and text.startswith("]", at):
        return _behind_space(text, at + 1), True
    if not text.startswith(sign, at):
        raise ValueError("a list was expected")
    at = _behind_space(text, at + 1)
    if sign == "[" and text.startswith("]", at):
        return _behind_space(text, at + 1), True
    return at, False


def _behind_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


async def read_stretches(blobs: BlobStore, key: str, stretches: Sequence[tuple[int, int]]) -> list[list[Segment]]:
    """Of the segments that `keep_large` stored, those that touch each stretch, from one moment to another in ms.

    To check all segments of some hours takes most of a second; these are checked alone.

    :raises BlobMissing: they are gone.
    :raises Poison: what lies there is not a list of segments.
    """
    raw = await blobs.read(key)
    try:
        found: object = await asyncio.to_thread(json.loads, raw)
        if not isinstance(found, list):
            raise TypeError("a list was expected")  # noqa: TRY301 - what is wrong in it is told alike
        return [
            _SEGMENTS.validate_python([one for one in found if one["end_ms"] >= start and one["start_ms"] <= end])
            for start, end in stretches
        ]
    except (ValueError, KeyError, TypeError) as exc:  # pydantic's errors are among them
        raise Poison(f"{key} in the media store does not hold the segments of a transcript") from exc
