"""The transcript of a share as a file, for its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

import asyncpg
from pydantic import BaseModel, ConfigDict

from millrace.contracts.catalog import Catalog
from millrace.contracts.events import Segment
from millrace.contracts.transcript_api import Billing, TranscriptFormat
from millrace.errors import Poison
from millrace.money import MicroUSD
from millrace.store.blobs import BlobStore, NotHereYet
from millrace.store.transcripts import read_segments
from millrace.text import has_nul
from millrace.transcripts.formats import document_of, rendered
from services.api_gateway.domain import blocked
from services.api_gateway.errors import NotFound, NotNow

_STAGE = "transcribe"
_SHARE = """
SELECT s.title, s.filename, j.stage, j.state, j.reason, j.cost_micro_usd, w.result
  FROM shares s LEFT JOIN jobs j USING (share_id)
  LEFT JOIN work w ON w.work_key = j.work_key AND j.stage = 'transcribe' AND j.state IN ('done', 'skipped')
 WHERE s.share_id = $1 AND s.owner = $2
"""


@dataclass(frozen=True)
class TranscriptFile:
    """A transcript in one format, and what to name it after."""

    content: bytes
    title: str | None


class _Result(BaseModel):
    """What the stage has stored."""

    model_config = ConfigDict(extra="ignore")

    text: str
    segments: list[Segment] = []
    segments_ref: str | None = None
    language: str | None = None
    duration_ms: int
    billed_ms: int = 0
    backend: str
    model: str
    skipped_reason: str | None = None


async def transcript_file(
    pool: asyncpg.Pool[asyncpg.Record],
    blobs: BlobStore,
    catalog: Catalog,
    share_id: str,
    *,
    owner: str,
    kind: TranscriptFormat,
) -> TranscriptFile:
    """A share's transcript.

    :raises NotFound: there is no such share, it is somebody else's, or it has no transcript and will not get one.
    :raises NotNow: the transcript is not ready.
    :raises Unavailable: the media store, which has the segments of long ones, does not answer.
    """
    jobs = [] if has_nul(share_id) else await pool.fetch(_SHARE, share_id, owner)
    if not jobs:
        raise NotFound("There is no share with this id.")
    result, cost = _finished(jobs, catalog)
    segments, note = await _segments(blobs, result)
    if note is not None and kind in ("srt", "vtt"):
        raise NotFound(f"The times of this transcript are gone ({note}); its text is there as json and txt.")
    billing = Billing(
        backend=result.backend, model=result.model, seconds=result.billed_ms / 1000, cost_micro_usd=cost
    )
    document = document_of(
        segments,
        text=result.text,
        language=result.language,
        duration_ms=result.duration_ms,
        billing=billing,
        note=note,
    )
    # Hours of speech take seconds, in which others want an answer, too.
    content = await asyncio.to_thread(rendered, document, segments, kind)
    return TranscriptFile(content, jobs[0]["title"] or PurePath(jobs[0]["filename"] or "").stem or None)


def _finished(jobs: Sequence[asyncpg.Record], catalog: Catalog) -> tuple[_Result, MicroUSD]:
    """What the stage has come to, and what this share paid for it.

    :raises NotFound: it has come to no transcript, and will not by itself.
    :raises NotNow: it has not ended.
    """
    stages = sorted((job for job in jobs if job["stage"] is not None), key=lambda job: catalog.place_of(job["stage"]))
    job = next((job for job in stages if job["stage"] == _STAGE), None)
    if job is None:
        raise NotFound("This share has no transcript: it is a text, of which nothing is transcribed.")
    result = None if job["result"] is None else _Result.model_validate(job["result"])
    if result is not None and result.skipped_reason is None:
        return result, MicroUSD(job["cost_micro_usd"])
    state = "skipped" if result is not None else job["state"]
    skipped = None if result is None else result.skipped_reason
    waits = blocked([(stage["stage"], stage["state"]) for stage in stages]).get(_STAGE)
    because = _because(job["reason"] or skipped or waits)
    failed_before = waits is not None and any(before["state"] == "failed" for before in stages[: stages.index(job)])
    if failed_before or state in ("skipped", "failed", "cancelled"):
        raise NotFound(f"This share has no transcript: transcribe is {state}{because}.")
    raise NotNow(f"The transcript is not ready: transcribe is {state}{because}.")


def _because(reason: str | None) -> str:
    return f" ({reason.rstrip('.')})" if reason else ""


async def _segments(blobs: BlobStore, result: _Result) -> tuple[list[Segment], str | None]:
    """The segments, or why they are gone."""
    if result.segments_ref is None:
        return result.segments, None
    try:
        return await read_segments(blobs, result.segments_ref), None
    except (Poison, NotHereYet) as exc:  # the text is still worth having
        return [], str(exc)
