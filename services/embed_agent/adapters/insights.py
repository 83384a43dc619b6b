"""Looks at the texts behind embed work that has ended, beside the work itself: table `insights`.

Nothing waits for it, and whatever was embedded before there was such a table is looked at, too.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Final

from millrace.signature import bands
from millrace.store.database import Database
from services.embed_agent.domain import Source
from services.embed_agent.insight import NOTHING, VERSION, Insight, insight_of

log = logging.getLogger(__name__)
Tell = Callable[[str, Source, str], Insight]
"""What a text is like, by its source and its type of content."""

_BATCH: Final = 100
_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LONGEST_TRANSACTION: Final = timedelta(minutes=10)  # a result is dated when its transaction began
_ALL_AGAIN_S: Final = 3600.0  # old work that somebody shares again after its last share had moved on

# In any order: agents beside this one look at others meanwhile.
_UNSEEN = """
SELECT work_key FROM (
SELECT w.work_key FROM work w
 WHERE w.stage = 'embed' AND w.finished_at >= $1
   AND NOT EXISTS (SELECT FROM insights i WHERE i.work_key = w.work_key AND i.version = $2)
   AND EXISTS (SELECT FROM jobs j JOIN shares USING (share_id) WHERE j.work_key = w.work_key AND j.stage = 'embed')
 ORDER BY w.finished_at LIMIT $3
) AS oldest ORDER BY random()
"""
_TEXT = """
SELECT s.source_kind, s.content_type, coalesce(s.text, t.result ->> 'text', '') AS text
  FROM jobs j JOIN shares s USING (share_id)
  LEFT JOIN jobs k ON k.share_id = j.share_id AND k.stage = 'transcribe'
  LEFT JOIN work t ON t.work_key = k.work_key
 WHERE j.work_key = $1 AND j.stage = 'embed'
   AND NOT EXISTS (SELECT FROM insights i WHERE i.work_key = j.work_key AND i.version = $2)
 ORDER BY s.created_at LIMIT 1
"""
_KEEP = """
INSERT INTO insights (work_key, version, language, quality, parts, signature, bands)
SELECT $1, $2, $3, $4, $5, $6, $7 WHERE EXISTS (SELECT FROM work WHERE work_key = $1)
ON CONFLICT (work_key) DO UPDATE
   SET version = excluded.version, language = excluded.language, quality = excluded.quality, parts = excluded.parts,
       signature = excluded.signature, bands = excluded.bands
"""


@asynccontextmanager
async def keeping_insights(database: Database, *, every_s: float = 2.0) -> AsyncIterator[None]:
    """While it is open, each text behind embed work gets its insight, some seconds after the work has ended."""
    task = asyncio.create_task(_keep_insights(database, every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _keep_insights(database: Database, every_s: float) -> None:
    since, looks_s = _EVER, 0.0
    while True:
        began = await database.fetchrow("SELECT now() AS now")
        while await look(database, since):
            pass
        await asyncio.sleep(every_s)
        looks_s += every_s
        if looks_s >= _ALL_AGAIN_S or began is None:
            since, looks_s = _EVER, 0.0
        else:
            since = began["now"] - _LONGEST_TRANSACTION


async def look(database: Database, since: datetime = _EVER, *, tell: Tell = insight_of) -> int:
    """Look at some texts of work that has ended from then on; returns how many, 0 when none is left."""
    unseen = await database.fetch(_UNSEEN, since, VERSION, _BATCH)
    return sum([await _look_at(database, row["work_key"], tell) for row in unseen])


async def _look_at(database: Database, work_key: str, tell: Tell) -> int:
    """Returns how many rows were kept: none where somebody else was faster, or the last share has other work now."""
    found = await database.fetchrow(_TEXT, work_key, VERSION)
    if found is None:
        return 0
    source: Source = "text" if found["source_kind"] == "text" else "transcript"
    try:
        # In a thread: a megabyte takes a quarter of a second, and leases are renewed meanwhile.
        insight = await asyncio.to_thread(tell, found["text"], source, found["content_type"])
    except Exception:  # one text must not keep all others from being looked at
        log.exception("the text behind %s could not be looked at: it has no language and no quality", work_key)
        insight = NOTHING
    return await database.execute(_KEEP, work_key, VERSION, *_row(insight))


def _row(insight: Insight) -> tuple[object, ...]:
    numbers = insight.signature
    return (
        insight.language,
        insight.quality.score,
        asdict(insight.quality),
        numbers,
        None if numbers is None else bands(numbers),
    )
