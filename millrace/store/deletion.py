"""Deleting a share: what goes at once, in one transaction, and what is removed behind it.

The share's row, its jobs and what waits for them go at once, and a row of `deleted_shares` stays: triggers let
nothing of the share be written after that. Work is keyed by its content and may be another share's, too, so it is
looked at by itself (`erase`): of what nobody else needs the content is removed. The row of the work stays without it:
its fence and the numbers of its calls go on counting, so that no former owner meets a later one under the same
numbers. What calls have cost stays as well.

What if the process dies? Work and files that are to go are written down with the deletion, and their rows leave when
it is done. A worker that was at work for the share stops within a second or so. What it still writes to the work, or
one that was paused for hours, is found by the looks that follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from millrace.contracts.events import StageName
from millrace.ids import WorkKey
from millrace.store.blobs import UPLOADS
from millrace.store.database import Connection

LOOK_AGAIN: Final = timedelta(seconds=5)
"""How soon work is looked at again; each time as long again as it has been looked at for."""
LATEST: Final = timedelta(days=2)
"""So long after the deletion a worker may have been paused and still be found out."""
IN_FLIGHT: Final = timedelta(minutes=10)
"""Before a file of an agent is removed: another may just have found it there for a share of its own."""

# The rule of `millrace.store.waiting`: who changes what waits behind a gate locks its row before anything else.
_LOCK_GATES = """
SELECT FROM gates JOIN waiting ON (gates.stage, gates.name) = (waiting.stage, waiting.gate)
 WHERE waiting.share_id = $1 ORDER BY gates.stage, gates.name FOR UPDATE OF gates
"""
# Of the triggers that let nothing of a deleted share be written.
_ALONE = "SELECT pg_advisory_xact_lock(7215333, hashtext($1) & 127)"
_REMEMBER = "INSERT INTO deleted_shares (share_id, owner) VALUES ($1, $2)"
# All work that was ever done for it: of a call the payer is known, whatever its jobs were asked for since.
_WORKS = """
INSERT INTO deleted_work (work_key)
SELECT work_key FROM jobs WHERE share_id = $1 AND work_key IS NOT NULL
 UNION SELECT work_key FROM earlier_work WHERE share_id = $1
 UNION SELECT work_key FROM share_embeddings WHERE share_id = $1
 UNION SELECT work_key FROM calls WHERE share_id = $1
 UNION SELECT work_key FROM call_parts WHERE share_id = $1
ON CONFLICT (work_key) DO UPDATE SET since = now(), due = now()
RETURNING work_key
"""
_ROWS: Final = (
    "DELETE FROM waiting WHERE share_id = $1",
    "DELETE FROM jobs WHERE share_id = $1",
    "DELETE FROM earlier_work WHERE share_id = $1",
    "DELETE FROM share_embeddings WHERE share_id = $1",
    "DELETE FROM dead_letters WHERE share_id = $1",
    "DELETE FROM outbox WHERE key = convert_to($1, 'UTF8')",
    "DELETE FROM shares WHERE share_id = $1",
)
_FORGET_URL = "DELETE FROM extractions WHERE url_hash = $1"

# In the order of their keys, as groups of statements lock them.
_LOCK_WORK = "SELECT FROM work WHERE work_key = ANY($1) ORDER BY work_key FOR UPDATE"
# A statement of its own, so that it sees who has begun to need the work before it was locked. Work that somebody is
# at is left to them: they stop, or end, and it is looked at again.
_NEEDED = """
(EXISTS (SELECT FROM jobs WHERE jobs.work_key = w.work_key)
 OR EXISTS (SELECT FROM earlier_work e WHERE e.work_key = w.work_key)
 OR EXISTS (SELECT FROM share_embeddings s WHERE s.work_key = w.work_key))"""
_FREE = f"""
SELECT work_key, coalesce(result ->> 'blob_key', result ->> 'segments_ref') AS blob_key FROM work w
 WHERE work_key = ANY($1) AND (result IS NOT NULL OR lease_until IS NULL OR lease_until < now()) AND NOT {_NEEDED}
"""  # noqa: S608 - constants
_DONE_WITH = f"""
DELETE FROM deleted_work d USING work w
 WHERE d.work_key = ANY($1) AND w.work_key = d.work_key AND {_NEEDED}
"""  # noqa: S608 - constants
_EMPTY = """
UPDATE work SET result = NULL, finished_at = NULL, checkpoint = NULL, lease_until = 'epoch'
 WHERE work_key = ANY($1) AND (result IS NOT NULL OR checkpoint IS NOT NULL)
"""
# An answer that holds texts of others, which they have not taken out of it yet, stays until they have.
_SPENT = """
state IN ('answered', 'settled') AND answer IS NOT NULL
   AND NOT EXISTS (SELECT FROM pending_texts p
                    WHERE p.claimed_by = calls.work_key AND p.bought_at IS NULL AND p.work_key <> calls.work_key)"""
_IN_ANSWERS = f"""
SELECT DISTINCT jsonb_array_elements_text(answer -> 'hashes') AS content_hash FROM calls
 WHERE work_key = ANY($1) AND jsonb_typeof(answer -> 'hashes') = 'array' AND {_SPENT}
"""  # noqa: S608 - constants
# Bought again, should somebody share the same, a call begins anew: this one is no try of that.
_ANSWERS = f"UPDATE calls SET answer = NULL, counted = false WHERE work_key = ANY($1) AND {_SPENT}"  # noqa: S608
_REASONS = "UPDATE calls SET reason = NULL WHERE work_key = ANY($1) AND reason IS NOT NULL AND told_ledger"
# The parts of a call add up to it, whoever deletes theirs; they are no costs of the work any more.
_PARTS = """
UPDATE call_parts SET work_key = work_key || '|' || pg_current_xact_id()::text WHERE work_key = ANY($1)
"""
_TEXTS = """
WITH passages AS (DELETE FROM chunks WHERE work_key = ANY($1) RETURNING content_hash),
     wanted AS (DELETE FROM pending_texts WHERE work_key = ANY($1) RETURNING content_hash),
     composed AS (DELETE FROM work_vectors WHERE work_key = ANY($1)),
     looked_at AS (DELETE FROM insights WHERE work_key = ANY($1))
SELECT content_hash FROM passages UNION SELECT content_hash FROM wanted
"""
# As with work: locked first, so that what has begun to need them meanwhile is seen.
_LOCK_VECTORS = "SELECT FROM embeddings WHERE content_hash = ANY($1) ORDER BY content_hash, model FOR UPDATE"
_VECTORS = """
DELETE FROM embeddings e
 WHERE content_hash = ANY($1)
   AND NOT EXISTS (SELECT FROM chunks c WHERE c.model = e.model AND c.content_hash = e.content_hash)
   AND NOT EXISTS (SELECT FROM pending_texts p WHERE p.content_hash = e.content_hash)
"""
_FILES = """
INSERT INTO deleted_blobs (blob_key, due) VALUES ($1, now() + $2)
ON CONFLICT (blob_key) DO UPDATE SET due = excluded.due
"""
_FORGET_MEDIA = "DELETE FROM media_objects WHERE blob_key = ANY($1)"

_DUE = """
SELECT work_key FROM deleted_work WHERE due <= now() ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED
"""
_LATER = """
UPDATE deleted_work SET due = now() + greatest($2::interval, now() - since) WHERE work_key = ANY($1)
"""
_OVER = "DELETE FROM deleted_work WHERE work_key = ANY($1) AND since < now() - $2::interval"


@dataclass(frozen=True)
class Removed:
    """What a share had: its stages, and the work that was done for it, which is to be erased if nobody needs it."""

    stages: list[StageName]
    works: list[WorkKey]


async def delete(connection: Connection, share_id: str, owner: str) -> Removed:
    """Remove a share's rows, in the caller's transaction and before anything else of it but a look at the share."""
    await connection.execute(_LOCK_GATES, share_id)
    await connection.execute(_ALONE, share_id)
    await connection.execute(_REMEMBER, share_id, owner)
    works = [WorkKey(row["work_key"]) for row in await connection.fetch(_WORKS, share_id)]
    stages = [row["stage"] for row in await connection.fetch("SELECT stage FROM jobs WHERE share_id = $1", share_id)]
    for sql in _ROWS:
        await connection.execute(sql, share_id)
    return Removed(stages, works)


async def forget_url(connection: Connection, url_hash: str) -> None:
    """Forget what was found out about the address of a share."""
    await connection.execute(_FORGET_URL, url_hash)


async def erase(connection: Connection, works: Sequence[WorkKey]) -> None:
    """Remove the content of what nobody needs any more, in the caller's transaction.

    What somebody is at is left for a later look, what another share needs for good.
    """
    await connection.execute(_LOCK_WORK, works)
    await connection.execute(_DONE_WITH, works)
    free = await connection.fetch(_FREE, works)
    keys = [row["work_key"] for row in free]
    hashes = {row["content_hash"] for row in await connection.fetch(_IN_ANSWERS, keys)}
    for sql in (_EMPTY, _ANSWERS, _REASONS, _PARTS):
        await connection.execute(sql, keys)
    hashes |= {row["content_hash"] for row in await connection.fetch(_TEXTS, keys)}
    await connection.execute(_LOCK_VECTORS, sorted(hashes))
    await connection.execute(_VECTORS, sorted(hashes))
    await remove_later(connection, [row["blob_key"] for row in free if row["blob_key"] is not None])


async def remove_later(connection: Connection, keys: Sequence[str]) -> None:
    """Have files removed that nobody refers to any more: those that people upload at once, those of agents later."""
    for key in keys:
        await connection.execute(_FILES, key, timedelta(0) if key.startswith(f"{UPLOADS}/") else IN_FLIGHT)
    await connection.execute(_FORGET_MEDIA, keys)


async def erase_due(connection: Connection, limit: int = 100) -> int:
    """Look at work that is due, in the caller's transaction; how much there was."""
    works = [WorkKey(row["work_key"]) for row in await connection.fetch(_DUE, limit)]
    if works:
        await erase(connection, works)
        await connection.execute(_LATER, works, LOOK_AGAIN)
        await connection.execute(_OVER, works, LATEST)
    return len(works)
