"""What was extracted from pages of the web, for an hour: addresses of media there do not hold much longer."""

from __future__ import annotations

import json
from datetime import timedelta

from pydantic import JsonValue

from millrace.ids import content_hash
from millrace.store.database import Database

KEPT_FOR = timedelta(hours=1)
_LARGEST = 256 * 1024  # bytes of JSON: a few thousand fragments

_FIND = "SELECT info FROM extractions WHERE url_hash = $1 AND extracted_at > now() - $2::interval"
# Sweeping goes along: the table holds what an hour brings, and nobody has to come by.
_KEEP = """
WITH swept AS (
    DELETE FROM extractions WHERE extracted_at <= now() - $3::interval AND url_hash <> $1
)
INSERT INTO extractions (url_hash, info, extracted_at) VALUES ($1, $2, now())
ON CONFLICT (url_hash) DO UPDATE SET info = excluded.info, extracted_at = excluded.extracted_at
"""


class ExtractionStore:
    """The table `extractions`. URLs are known by their hash; what is kept holds signed addresses of media."""

    def __init__(self, database: Database, kept_for: timedelta = KEPT_FOR) -> None:
        self._database = database
        self._kept_for = kept_for

    async def find(self, url: str) -> dict[str, JsonValue] | None:
        """What was kept for this URL, if it is not too old."""
        row = await self._database.fetchrow(_FIND, content_hash(url), self._kept_for)
        return dict(row["info"]) if row is not None else None

    async def keep(self, url: str, info: dict[str, JsonValue]) -> None:
        """Keep it, and delete what is too old; what is larger than 256 KiB is not kept."""
        if len(json.dumps(info)) <= _LARGEST:
            await self._database.execute(_KEEP, content_hash(url), info, self._kept_for)
