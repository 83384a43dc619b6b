"""The models that shares are searched by: how far each has embedded them, and switching between them.

What search does with them, and why: docs/decisions/reembedding.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from millrace.errors import ConfigurationError
from millrace.money import MicroUSD
from millrace.store.database import Connection, Database
from millrace.store.vectors import drop_indexes

GRACE: Final = timedelta(minutes=1)
"""So long after a switch a search may still ask the model before."""
AT_WORK: Final = timedelta(minutes=10)
"""A job of so long ago may be one of an agent that goes on with its model."""

# Jobs end under the shared lock (migration 0019), and wait here.
_ALONE = "SELECT pg_advisory_xact_lock(7215330120)"
_BATCH = 5_000
_LONG_S = 600.0  # for statements about all shares

_MODELS = """
  SELECT model, count(*) AS shares, count(*) FILTER (WHERE searched_until = 'infinity') AS searched
    FROM share_embeddings GROUP BY model
"""
_COUNTS = f"""
SELECT model, shares, searched, 0 AS cost, 0 AS tokens, 0 AS missing_tokens
  FROM ({_MODELS}) AS models ORDER BY searched DESC, model
"""  # noqa: S608 - constants
_STATUS = f"""
WITH models AS ({_MODELS}), sizes AS (
  SELECT work_key, sum(tokens) AS tokens FROM chunks GROUP BY work_key
), spent AS (
  SELECT model, sum(w.cost_micro_usd)::bigint AS cost, coalesce(sum(tokens), 0)::bigint AS tokens
    FROM (SELECT DISTINCT model, work_key FROM share_embeddings) AS used
    JOIN work w USING (work_key) LEFT JOIN sizes USING (work_key) GROUP BY model
), missing AS (
  SELECT m.model, coalesce(sum(tokens), 0)::bigint AS tokens
    FROM models m JOIN share_embeddings s ON s.searched_until = 'infinity'
         AND NOT EXISTS (SELECT FROM share_embeddings o WHERE o.share_id = s.share_id AND o.model = m.model)
         LEFT JOIN sizes USING (work_key) GROUP BY m.model
)
SELECT m.model, m.shares, m.searched, s.cost, s.tokens, coalesce(missing.tokens, 0) AS missing_tokens
  FROM models m JOIN spent s USING (model) LEFT JOIN missing USING (model) ORDER BY m.searched DESC, m.model
"""  # noqa: S608 - constants
_ALL = "SELECT count(*) FROM share_embeddings WHERE searched_until = 'infinity'"
_CHOSEN = "SELECT model, since FROM search_model"
_PIN = "UPDATE search_model SET model = $1, since = now()"
_LEAVE = """
UPDATE share_embeddings s SET searched_until = now()
 WHERE model <> $1 AND searched_until = 'infinity'
   AND EXISTS (SELECT FROM share_embeddings o WHERE o.share_id = s.share_id AND o.model = $1)
"""
_TAKE = """
UPDATE share_embeddings SET searched_until = 'infinity'
 WHERE model = $1 AND searched_until IS DISTINCT FROM 'infinity'
"""
_AT_WORK = """
SELECT EXISTS (SELECT FROM jobs WHERE stage = 'embed' AND model = $1
                  AND (state IN ('running', 'waiting', 'parked') OR updated_at > now() - $2::interval))
"""
# Work without its vectors is not done any more. Answers that were paid for stay, should it be wanted again.
_UNDO = """
WITH gone AS (DELETE FROM share_embeddings WHERE model = $1 RETURNING share_id
), undone AS (
  UPDATE work SET result = NULL, finished_at = NULL, lease_until = 'epoch'
   WHERE work_key IN (SELECT work_key FROM chunks WHERE model = $1)
)
SELECT count(*) FROM gone
"""
# Jobs that were done by it last say what is searched now.
_REPOINT = """
UPDATE jobs SET work_key = s.work_key, model = s.model FROM share_embeddings s
 WHERE jobs.stage = 'embed' AND jobs.state = 'done' AND jobs.model = $1
   AND s.share_id = jobs.share_id AND s.searched_until = 'infinity' AND s.model <> $1
"""
# Not what a worker has just written for a job that has not ended yet.
_IS_UNDONE = """
 AND EXISTS (SELECT FROM work w WHERE w.work_key = c.work_key AND w.result IS NULL AND w.lease_until < now())
"""
_OF_WORK = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} c WHERE model = $1 AND NOT EXISTS (
    SELECT FROM share_embeddings s WHERE s.work_key = c.work_key) {is_undone} LIMIT $2))
"""
_CHUNKS = _OF_WORK.format(table="chunks", is_undone=_IS_UNDONE)
_WORK_VECTORS = _OF_WORK.format(table="work_vectors", is_undone=_IS_UNDONE)
_VECTORS = """
DELETE FROM embeddings WHERE ctid = ANY(ARRAY(SELECT ctid FROM embeddings e WHERE model = $1 AND NOT EXISTS (
    SELECT FROM chunks c WHERE c.model = e.model AND c.content_hash = e.content_hash) LIMIT $2))
"""


@dataclass(frozen=True)
class Coverage:
    """What a model has embedded: of how many shares it has vectors, and how many are searched by it.

    `cost` is what its work has cost so far, for `tokens`; `missing_tokens` is how much is in the other shares.
    """

    model: str
    shares: int
    searched: int
    cost: MicroUSD
    tokens: int
    missing_tokens: int

    @property
    def rest(self) -> MicroUSD | None:
        """What the other shares may cost at the same price a token, rounded up; None where none was ever counted."""
        if self.missing_tokens == 0:
            return MicroUSD(0)
        return None if self.tokens == 0 else MicroUSD(-(-self.cost * self.missing_tokens // self.tokens))


@dataclass(frozen=True)
class Standing:
    """How search stands: `chosen` is the model that it prefers since a moment, None where nobody has chosen one.

    `shares` is how many have vectors of any model.
    """

    chosen: str | None
    since: datetime | None
    shares: int
    models: Sequence[Coverage]

    def of(self, model: str) -> Coverage | None:
        """What a model has embedded; None: nothing."""
        return next((one for one in self.models if one.model == model), None)


class SearchModels:
    """Tables `search_model` and `share_embeddings`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def standing(self) -> Standing:
        """How search stands; reads all chunks."""

        async def body(connection: Connection) -> Standing:
            return await _standing(connection)

        return await self._db.transaction(body)

    async def hold(self) -> str | None:
        """Let search stay with the model that most shares are searched by, unless one was chosen; the chosen one."""

        async def body(connection: Connection) -> str | None:
            await connection.execute(_ALONE)
            standing = await _standing(connection, _COUNTS)
            if standing.chosen is not None or not standing.models:
                return standing.chosen
            await _prefer(connection, standing.models[0].model)
            return standing.models[0].model

        return await self._db.transaction(body)

    async def switch(self, model: str, *, force: bool) -> Standing:
        """Search by a model from now on; shares that it has not embedded stay with the one that has.

        :raises ConfigurationError: it has embedded nothing, or not all, and is not forced.
        """

        async def body(connection: Connection) -> None:
            await connection.execute(_ALONE)
            standing = await _standing(connection, _COUNTS)
            known = standing.of(model)
            if known is None:
                raise ConfigurationError(f"The model {model} has embedded nothing: see `millrace embeddings status`.")
            if known.shares < standing.shares and not force:
                raise ConfigurationError(
                    f"The model {model} has embedded {known.shares} of {standing.shares} shares: go on with "
                    f"`millrace embeddings reembed --model {model}`, or switch with --force; the others are then "
                    "searched by the model that has embedded them."
                )
            if standing.chosen != model:
                await _prefer(connection, model)

        await self._db.transaction(body)
        return await self.standing()

    async def drop(self, model: str) -> int:
        """Remove a model's vectors, chunks and indexes; returns how many shares had them. May be repeated.

        :raises ConfigurationError: shares are searched by it, it was until a minute ago, or an agent works with it.
        """

        async def body(connection: Connection) -> int:
            await connection.execute(_ALONE)
            standing = await _standing(connection, _COUNTS)
            _may_go(model, standing, await connection.fetchval("SELECT now()"))
            if await connection.fetchval(_AT_WORK, model, AT_WORK):
                raise ConfigurationError(
                    f"The embed agent works with {model}, or did a moment ago: give it another in "
                    "MILLRACE_EMBED_MODEL, and drop this one ten minutes later."
                )
            await connection.execute(_REPOINT, model, timeout=_LONG_S)
            shares: int = await connection.fetchval(_UNDO, model, timeout=_LONG_S)
            return shares

        shares = await self._db.transaction(body)
        for sql in (_CHUNKS, _WORK_VECTORS, _VECTORS):
            while await self._db.execute(sql, model, _BATCH):
                pass
        async with self._db.pool.acquire() as connection:
            await drop_indexes(connection, model)
        return shares


def _may_go(model: str, standing: Standing, now: datetime) -> None:
    known = standing.of(model)
    if standing.chosen == model or (known is not None and known.searched):
        searched = 0 if known is None else known.searched
        raise ConfigurationError(
            f"{searched} shares are searched by {model}: embed them by another and switch to it first."
        )
    if standing.since is not None and now - standing.since < GRACE:
        raise ConfigurationError("Search was switched a moment ago, and some may still be under way: wait a minute.")


async def _standing(connection: Connection, sql: str = _STATUS) -> Standing:
    """Or without what it has cost and will, while jobs wait: that reads all chunks."""
    chosen = await connection.fetchrow(_CHOSEN)
    return Standing(
        chosen=None if chosen is None else chosen["model"],
        since=None if chosen is None else chosen["since"],
        shares=await connection.fetchval(_ALL),
        models=[Coverage(**dict(row)) for row in await connection.fetch(sql, timeout=_LONG_S)],
    )


async def _prefer(connection: Connection, model: str) -> None:
    await connection.execute(_PIN, model)
    await connection.execute(_LEAVE, model, timeout=_LONG_S)
    await connection.execute(_TAKE, model, timeout=_LONG_S)
