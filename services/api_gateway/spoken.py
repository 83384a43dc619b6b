"""What was said in stretches of shares: from the results of transcription, in PostgreSQL or in the media store."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg
from pydantic import TypeAdapter

from millrace.contracts.events import Segment
from millrace.errors import Poison, Unavailable
from millrace.store.blobs import BlobStore, NotHereYet
from millrace.store.transcripts import read_stretches

log = logging.getLogger(__name__)

MOST_READ: Final = 5
"""Transcripts of the media store that are read for one answer; each has some megabytes."""
_WITHIN_S: Final = 2.0
_SEGMENTS: Final = TypeAdapter(list[Segment])
# Only those that a stretch needs: all of a transcript can be half a megabyte.
_SAID = """
SELECT asked.place - 1 AS place, w.result ->> 'segments_ref' AS reference, (
         SELECT jsonb_agg(segment ORDER BY number)
           FROM jsonb_array_elements(w.result -> 'segments') WITH ORDINALITY AS said (segment, number)
          WHERE (segment ->> 'end_ms')::bigint >= asked.start_ms AND (segment ->> 'start_ms')::bigint <= asked.end_ms
       ) AS segments
  FROM unnest($2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS asked (share_id, start_ms, end_ms, place)
  JOIN shares s ON s.share_id = asked.share_id AND s.owner = $1
  JOIN jobs j ON j.share_id = s.share_id AND j.stage = 'transcribe' AND j.state = 'done'
  JOIN work w ON w.work_key = j.work_key
"""


@dataclass(frozen=True)
class Stretch:
    """A part of a share's media, in milliseconds."""

    share_id: str
    start_ms: int
    end_ms: int


class Spoken:
    """Reads transcripts of one owner's shares."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], blobs: BlobStore) -> None:
        self._pool = pool
        self._blobs = blobs

    async def segments(self, owner: str, stretches: Sequence[Stretch]) -> list[list[Segment]]:
        """The segments that touch each stretch; none where there is no transcript, or it cannot be had at once."""
        found: list[list[Segment]] = [[] for _ in stretches]
        if not stretches:
            return found
        shares, starts, ends = zip(*((one.share_id, one.start_ms, one.end_ms) for one in stretches), strict=True)
        rows = await self._pool.fetch(_SAID, owner, shares, starts, ends)
        large: dict[str, list[int]] = {}
        for row in rows:
            if row["reference"] is None:
                found[row["place"]] = _SEGMENTS.validate_python(row["segments"] or [])
            else:
                large.setdefault(row["reference"], []).append(row["place"])
        read = list(large.items())[:MOST_READ]
        said = await asyncio.gather(*(self._large(name, [stretches[at] for at in places]) for name, places in read))
        for (_, places), segments in zip(read, said, strict=True):
            for at, touching in zip(places, segments, strict=True):
                found[at] = touching
        return found

    async def _large(self, reference: str, stretches: Sequence[Stretch]) -> list[list[Segment]]:
        try:
            async with asyncio.timeout(_WITHIN_S):
                bounds = [(one.start_ms, one.end_ms) for one in stretches]
                return await read_stretches(self._blobs, reference, bounds)
        except (Poison, NotHereYet, Unavailable, TimeoutError) as exc:
            # The passage was found all the same, and has a moment of its own.
            log.info("a transcript could not be read for a search (%s)", type(exc).__name__)
            return [[] for _ in stretches]
