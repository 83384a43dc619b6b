"""A share as its owner sees it, read from PostgreSQL alone: stages, results and receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg
from pydantic import BaseModel, ConfigDict

from millrace.contracts.catalog import Catalog
from millrace.contracts.dead import DEAD_GATE
from millrace.contracts.share_api import (
    EmbeddingView,
    QualityView,
    Receipt,
    ShareView,
    StageView,
    SummaryView,
    TranscriptView,
)
from millrace.errors import Poison, Unavailable
from millrace.money import MicroUSD
from millrace.store.blobs import BlobStore, NotHereYet
from millrace.store.transcripts import read_segments
from millrace.text import has_nul
from services.api_gateway.domain import blocked, share_state
from services.api_gateway.errors import NotFound

_SHARE = """
SELECT share_id, account, owner, source_kind, url, filename, platform, content_type, title, description, language,
       tags, created_at
  FROM shares WHERE share_id = $1 AND owner = $2
"""
_STAGES = """
SELECT j.stage, j.state, j.reason, j.progress, j.resume_at, j.needed_micro_usd, j.left_micro_usd, j.cap, j.attempt,
       j.model, j.cost_micro_usd, j.updated_at, w.result, g.until AS paused_until
  FROM jobs j LEFT JOIN work w ON w.work_key = j.work_key AND j.state IN ('done', 'skipped')
  LEFT JOIN gates g ON g.stage = j.stage AND g.name = $2 AND g.closings > 0 AND j.state = 'queued'
 WHERE j.share_id = $1
"""
# Of the work that is searched, as the job's own may have just begun; of a share that is not searched of the job's.
_INSIGHT = """
SELECT i.language, i.quality, i.parts
  FROM (SELECT work_key, searched_until FROM share_embeddings WHERE share_id = $1
         UNION ALL
        SELECT work_key, NULL FROM jobs WHERE share_id = $1 AND stage = 'embed') AS done
  JOIN insights i USING (work_key)
 ORDER BY done.searched_until DESC NULLS LAST LIMIT 1
"""
# What a person has said about a call that nobody knew the end of stands in the ledger's journal only.
# Calls of its works, and its parts of calls that other works have made.
_CALLS = """
SELECT own.stage, c.model, c.call_no, c.attempt, c.state, c.hold_micro_usd, c.reason, c.request_id,
       coalesce(own.cost_micro_usd, CASE parts.works WHEN 0 THEN c.actual_micro_usd ELSE 0 END) AS actual_micro_usd,
       coalesce(own.share_id, c.share_id) AS share_id, c.created_at AS asked_at,
       e.actual_micro_usd AS reconciled_micro_usd, greatest(parts.works, 1) AS works
  FROM (
       SELECT j.stage, c.request_id, p.share_id, p.cost_micro_usd
         FROM jobs j JOIN calls c ON c.work_key = j.work_key
         LEFT JOIN call_parts p ON p.request_id = c.request_id AND p.work_key = j.work_key
        WHERE j.share_id = $1
        UNION
       SELECT j.stage, p.request_id, p.share_id, p.cost_micro_usd
         FROM jobs j JOIN call_parts p ON p.work_key = j.work_key
        WHERE j.share_id = $1
       ) AS own JOIN calls c USING (request_id)
 CROSS JOIN LATERAL (SELECT count(*) AS works FROM call_parts WHERE request_id = c.request_id) AS parts
  LEFT JOIN ledger_entries e
    ON (e.request_id, e.account, e.outcome, e.previous) = (c.request_id, c.account, 'reconciled', 'unconfirmed')
 ORDER BY c.created_at, c.call_no, c.attempt
"""


class _Large(BaseModel):
    """What tells that a transcript's segments lie in the media store."""

    model_config = ConfigDict(extra="ignore")

    segments_ref: str | None = None


async def share_view(
    pool: asyncpg.Pool[asyncpg.Record], blobs: BlobStore, catalog: Catalog, share_id: str, owner: str
) -> ShareView:
    """Everything about one share, from one snapshot of the database.

    :raises NotFound: there is no such share, or it is somebody else's.
    """
    if has_nul(share_id):
        raise NotFound("There is no share with this id.")
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        share = await connection.fetchrow(_SHARE, share_id, owner)
        if share is None:
            raise NotFound("There is no share with this id.")
        jobs = sorted(
            await connection.fetch(_STAGES, share_id, DEAD_GATE), key=lambda job: catalog.place_of(job["stage"])
        )
        calls = await connection.fetch(_CALLS, share_id)
        insight = await connection.fetchrow(_INSIGHT, share_id)
    results = {job["stage"]: job["result"] for job in jobs if job["result"] is not None}
    stages = _stages(jobs)
    return ShareView.model_validate(
        {
            **dict(share),
            "state": share_state(stage.state for stage in stages),
            "stages": stages,
            "transcript": await _transcript(blobs, results.get("transcribe")),
            "summary": None if "summarize" not in results else SummaryView.model_validate(results["summarize"]),
            "embedding": None if "embed" not in results else EmbeddingView.model_validate(results["embed"]),
            "quality": _quality(results.get("summarize"), insight),
            "text_language": None if insight is None else insight["language"],
            "receipts": [_receipt(call, share_id) for call in calls],
            "cost_micro_usd": MicroUSD(sum(stage.cost_micro_usd for stage in stages)),
        }
    )


def _stages(jobs: Sequence[asyncpg.Record]) -> list[StageView]:
    waits = blocked([(job["stage"], job["state"]) for job in jobs])
    return [
        StageView.model_validate(
            {**dict(job), "reason": job["reason"] or waits.get(job["stage"]) or _pause(job["paused_until"])}
        )
        for job in jobs
    ]


def _pause(until: datetime | None) -> str | None:
    if until is None:
        return None
    return f"too many jobs of this stage have failed, so that it takes none; one is tried at {until:%H:%M:%S} UTC"


def _quality(summary: Mapping[str, object] | None, insight: asyncpg.Record | None) -> QualityView | None:
    said = None if summary is None else SummaryView.model_validate(summary).quality
    parts = {} if insight is None else insight["parts"]
    if said is not None:
        return QualityView(score=said, by="model", parts=parts)
    return None if insight is None else QualityView(score=insight["quality"], by="rule", parts=parts)


def _receipt(call: asyncpg.Record, share_id: str) -> Receipt:
    known = {**dict(call), "reused": call["share_id"] != share_id}
    if call["state"] == "unconfirmed" and call["reconciled_micro_usd"] is not None:
        known |= {"state": "reconciled", "actual_micro_usd": call["reconciled_micro_usd"]}
    return Receipt.model_validate(known)


async def _transcript(blobs: BlobStore, result: Mapping[str, object] | None) -> TranscriptView | None:
    if result is None:
        return None
    reference = _Large.model_validate(result).segments_ref
    if reference is None:
        return TranscriptView.model_validate(result)
    try:
        segments = await read_segments(blobs, reference)
    except (Poison, NotHereYet, Unavailable) as exc:  # the text is still worth showing
        return TranscriptView.model_validate({**result, "segments": [], "note": str(exc)})
    return TranscriptView.model_validate({**result, "segments": segments})
