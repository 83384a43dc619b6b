"""What one stage has made of a share, for its owner or an admin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import asyncpg

from millrace.contracts.analytics_api import StageResult
from millrace.contracts.catalog import Catalog
from millrace.text import has_nul
from services.api_gateway.errors import NotFound
from services.api_gateway.principal import Principal

STAGES: Final[Mapping[str, str]] = {"transcription": "transcribe", "llm": "summarize", "vector": "embed"}
"""What analytics calls a stage; every stage of the catalogue goes by its own name, too."""

_RESULT: Final = """
SELECT j.share_id, j.stage, j.state, j.reason, j.model, j.attempt, j.cost_micro_usd, j.updated_at,
       w.created_at AS began_at, w.finished_at, w.result
  FROM jobs j LEFT JOIN shares s USING (share_id)
  LEFT JOIN work w ON w.work_key = j.work_key AND j.state IN ('done', 'skipped')
 WHERE j.share_id = $1 AND j.stage = $2 AND ($3 OR s.owner = $4)
"""


async def stage_result(
    pool: asyncpg.Pool[asyncpg.Record], catalog: Catalog, share_id: str, name: str, who: Principal
) -> StageResult:
    """A stage of a share with its result as it is stored; long transcripts name the object that has their segments.

    :raises NotFound: there is no such stage or share, the share does not go through it, or it is somebody else's.
    """
    stage = STAGES.get(name, name)
    found = None
    if stage in catalog.stages and not has_nul(share_id):
        found = await pool.fetchrow(_RESULT, share_id, stage, who.is_admin, who.owner)
    if found is None:
        raise NotFound("There is no such stage of a share with this id.")
    return StageResult.model_validate(dict(found))
