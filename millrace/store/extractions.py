"""What was extracted from pages of the web, for an hour: addresses of media there do not hold much longer."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta

import asyncpg
from pydantic import JsonValue

from millrace.ids import content_hash
from millrace.store.database import Database

log = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=1)
_PATIENCE_S = 5.0
"""How long keeping may hold a fetch up while the database is away."""
_LARGEST = 256 * 1024  # bytes of JSON: a few thousand fragments

# Sweeping goes along with every look: the table holds what an hour brings, and nobody has to come by.
_FIND = """
WITH swept AS (DELETE FROM extractions WHERE extracted_at <= now() - $2::interval)
SELECT info FROM extractions WHERE url_hash = $1 AND extracted_at > now() - $2::interval
"""
_FORGET = "DELETE FROM extractions WHERE url_hash = $1"
_KEEP = """
INSERT INTO extractions (url_hash, info, extracted_at) VALUES ($1, $2, now())
ON CONFLICT (url_hash) DO UPDATE SET info = excluded.info, extracted_at = excluded.extracted_at
"""


class ExtractionStore:
    """The table `extractions`. URLs are known by their hash; what is kept holds signed addresses of media."""

    def __init__(self, database: Database, kept_for: timedelta = KEPT_FOR) -> None:
        self._database = database
        self._kept_for = kept_for

    async def find(self, url: str) -> dict[str, JsonValue] | None:
        """What was kept for this URL, if it is not too old; deletes what is."""
        row = await self._database.fetchrow(_FIND, content_hash(url), self._kept_for)
        return dict(row["info"]) if row is not None else None

    async def keep(self, url: str, info: dict[str, JsonValue]) -> None:
        """Keep it; not what is larger than 256 KiB, or what the database does not take, or not soon."""
        try:
            if len(json.dumps(info)) <= _LARGEST:
                async with asyncio.timeout(_PATIENCE_S):
                    await self._database.execute(_KEEP, content_hash(url), info)
        except (ValueError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            # Its text quotes what was extracted.
            log.warning("an extraction is not kept (%s); the fetch goes on", type(exc).__name__)

    async def forget(self, url: str) -> None:
        """Forget what was kept for this URL."""
        await self._database.execute(_FORGET, content_hash(url))
