"""The sums that are kept beside the journal's entries, and those entries: where they differ, and how to mend that.

A trigger keeps them (migration 0023). What they must be is a view of all entries, also of those that are older than
the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, TypeAlias

import asyncpg

from millrace.store.database import rows_changed
from services.cost_ledger.audit import SHOWN, Differences

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"  # generic in its stubs alone
KEYS: Final[Mapping[str, str]] = {
    "ledger_costs": "hour_start, scope, account, model, day_start",
    "ledger_use": "hour_start, account, share_id, day_start",
}
"""Tables of sums. The view that says what one must hold is called after it, and has its columns in that order."""

# Entries and what they do to the sums are one transaction, so that one snapshot has both or neither.
_DIFFERENT: Final = """
WITH due AS (SELECT * FROM {place}_of_entries EXCEPT SELECT * FROM {place}),
     kept AS (SELECT * FROM {place} EXCEPT SELECT * FROM {place}_of_entries)
SELECT to_jsonb(due)::text AS due, to_jsonb(kept)::text AS kept, count(*) OVER () AS found
  FROM due FULL JOIN kept USING ({key}) ORDER BY {key} LIMIT $1
"""
_REMOVE: Final = """
DELETE FROM {place} AS kept USING (SELECT * FROM {place} EXCEPT SELECT * FROM {place}_of_entries) AS wrong
 WHERE ROW(kept.*) = ROW(wrong.*)
"""
_ADD: Final = "INSERT INTO {place} SELECT * FROM {place}_of_entries EXCEPT SELECT * FROM {place}"


async def compare(connection: Connection, differences: Differences) -> None:
    """Add what differs; entries may be appended meanwhile."""
    for place, key in KEYS.items():
        rows = await connection.fetch(_DIFFERENT.format(place=place, key=key), SHOWN)
        for row in rows:
            due, kept = json.loads(row["due"] or "null"), json.loads(row["kept"] or "null")
            about = "|".join(str((due or kept)[name]) for name in key.split(", "))
            differences.add(place, about, apart(due, kept), apart(kept, due))
        differences.count += (rows[0]["found"] if rows else 0) - len(rows)


async def mend(connection: Connection) -> dict[str, int]:
    """Make the sums those of the entries, in a transaction of the caller's that lets nobody append: rows changed."""
    changed: dict[str, int] = {}
    for place in KEYS:
        removed = await connection.execute(_REMOVE.format(place=place))
        added = await connection.execute(_ADD.format(place=place))
        changed[place] = max(rows_changed(removed), rows_changed(added))
    return changed


def apart(one: Mapping[str, object] | None, other: Mapping[str, object] | None) -> str:
    """What one row says otherwise than the other."""
    if one is None:
        return "no entry"
    return json.dumps({name: value for name, value in one.items() if other is None or other.get(name) != value})
