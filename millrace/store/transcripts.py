"""Transcripts that are too large for an event: their segments lie in the media store, as a JSON list."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from millrace.contracts.events import Segment
from millrace.errors import Poison
from millrace.store.blobs import BlobStore, content_key

INLINE_LIMIT = 512 * 1024
"""Bytes of JSON up to which segments travel in the event itself."""

_SEGMENTS = TypeAdapter(list[Segment])


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
    """The segments that `keep_large` stored.

    :raises BlobMissing: they are gone.
    :raises Poison: what lies there is not a list of segments.
    """
    try:
        return _SEGMENTS.validate_json(await blobs.read(key))
    except ValidationError as exc:
        raise Poison(f"{key} in the media store does not hold the segments of a transcript") from exc


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
