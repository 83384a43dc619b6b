"""Transcripts that are too large for an event: their segments lie in the media store, as a JSON list."""

from __future__ import annotations

import hashlib

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
