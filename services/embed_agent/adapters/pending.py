"""Texts that wait for a call, in PostgreSQL: tables `pending_texts` and `call_parts`.

What if the process dies here? A claim is written before the call, and is worth something as long as somebody may
still go on with the work that has it; then whoever needs the texts looks for what that work has paid for, and takes
them over. Vectors, parts and waking are one transaction.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from millrace.ids import WorkKey
from millrace.store.database import Connection, Database, Record
from services.embed_agent.adapters.pgvector import keep_vectors, vector_rows
from services.embed_agent.batches import Batch, calls_of
from services.embed_agent.ports import Abandoned, Later, Together, Want
from services.embed_agent.together import CROWD, TRIES_TOGETHER, PendingText

LOOK_AGAIN: Final = timedelta(seconds=30)
"""How soon a work looks again whose texts are in another's call, should nobody wake it."""
KEPT_FOR: Final = timedelta(hours=1)
"""How long texts stay that nobody wants any more."""

# One at a time for each model: who asks what there is, and who keeps what was bought.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('pending_texts ' || $1, 0))"
_ADD = """
INSERT INTO pending_texts (work_key, content_hash, model, account, share_id, text, tokens, not_before, due)
SELECT $1, $2, $3, $4, $5, $6, $7, now() + $8, now() + $9
 WHERE $10 OR NOT EXISTS (SELECT FROM embeddings WHERE model = $3 AND content_hash = $2)
ON CONFLICT (work_key, content_hash) DO UPDATE
   SET bought_at = NULL, claimed_by = CASE WHEN pending_texts.bought_at IS NULL THEN pending_texts.claimed_by END,
       share_id = excluded.share_id, account = excluded.account,
       not_before = least(pending_texts.not_before, excluded.not_before),
       due = least(pending_texts.due, excluded.due)
 WHERE pending_texts.bought_at IS NULL AND pending_texts.claimed_by IS NULL  -- another share of the work asks now
    OR pending_texts.bought_at IS NOT NULL  -- and somebody has thrown the vector away
   AND NOT EXISTS (SELECT FROM embeddings WHERE model = $3 AND content_hash = $2)
"""
_JUST_CAME = """
SELECT count(DISTINCT work_key) FROM pending_texts
 WHERE model = $1 AND account = $2 AND added_at > now() - interval '1 minute' AND work_key <> $3
"""
# As they were chosen: a text of several works is its own work's, or else one of the account that pays.
_CLAIMED = """
SELECT DISTINCT ON (content_hash) * FROM pending_texts
 WHERE claimed_by = $1 AND bought_at IS NULL
 ORDER BY content_hash, (work_key = $1) DESC, (account = $2) DESC, added_at
"""
# Somebody may still go on with it: its job is open, or a worker has it.
_LIVE = """(
    EXISTS (SELECT FROM jobs WHERE jobs.work_key = {work} AND jobs.stage = 'embed'
               AND jobs.state IN ('queued', 'running', 'waiting', 'parked'))
 OR EXISTS (SELECT FROM work WHERE work.work_key = {work} AND work.lease_until > now() AND work.result IS NULL))"""
_MINE = f"""
SELECT mine.*, mine.not_before <= now() AS is_open, mine.due <= now() AS is_due, mine.due - now() AS left,
       other.claimed_by AS elsewhere, {_LIVE.format(work="other.claimed_by")} AS lives
  FROM pending_texts mine LEFT JOIN LATERAL (
       SELECT claimed_by FROM pending_texts
        WHERE model = mine.model AND content_hash = mine.content_hash AND claimed_by <> $1 AND bought_at IS NULL
        LIMIT 1) AS other ON true
 WHERE mine.work_key = $1 AND mine.bought_at IS NULL ORDER BY mine.added_at, mine.content_hash
"""  # noqa: S608 - constants
# Read in the order of the index, and no more of them than could go: there may be a hundred thousand. The first limit
# is written out: PostgreSQL takes an unknown one for a tenth of the table, and sorts all of it. Whose job has ended,
# or is parked, does not go along.
_FIRST = """
WITH first AS MATERIALIZED (
  SELECT work_key, content_hash, due, added_at FROM pending_texts
   WHERE model = $1 AND account = $2 AND claimed_by IS NULL AND bought_at IS NULL AND NOT alone
     AND not_before <= now() AND work_key <> $3 AND content_hash <> ALL($4)
   ORDER BY due LIMIT {most}
), chosen AS (
  SELECT DISTINCT ON (content_hash) * FROM first
   WHERE EXISTS (SELECT FROM jobs WHERE jobs.work_key = first.work_key AND jobs.stage = 'embed'
                    AND jobs.account = $2 AND jobs.state IN ('queued', 'running', 'waiting') OFFSET 0)
     AND NOT EXISTS (SELECT FROM pending_texts other
                      WHERE other.model = $1 AND other.content_hash = first.content_hash
                        AND other.claimed_by IS NOT NULL AND other.bought_at IS NULL OFFSET 0)
   ORDER BY content_hash, added_at
)
SELECT pending_texts.* FROM chosen JOIN pending_texts USING (work_key, content_hash)
 ORDER BY chosen.due, chosen.added_at LIMIT $5
"""
_OTHERS = _FIRST.format(most=400)
_MANY_OTHERS = _FIRST.format(most=8192)
_USUAL = 100
"""Most texts of a call, up to which the shorter look does."""
_CLAIM = """
UPDATE pending_texts SET claimed_by = $1
 WHERE model = $2 AND content_hash = ANY($3) AND claimed_by IS NULL AND bought_at IS NULL
RETURNING work_key
"""
# They are woken when the call has ended; until then they need not come back, but for a look whether it ever will.
_STAY = """
UPDATE waiting SET due = now() + $2 WHERE seq IN (
  SELECT waiting.seq FROM waiting JOIN jobs USING (share_id, stage)
   WHERE jobs.stage = 'embed' AND jobs.work_key = ANY($1) AND waiting.gate IS NULL
   ORDER BY waiting.seq FOR UPDATE OF waiting SKIP LOCKED)
"""
_PAID = """
SELECT call_no, answer FROM calls WHERE work_key = $1 AND state IN ('answered', 'settled') ORDER BY call_no
"""
_RELEASE = """
UPDATE pending_texts SET claimed_by = NULL, alone = alone OR $2 WHERE claimed_by = $1 AND bought_at IS NULL
RETURNING work_key
"""
# Not for work that was asked for again since the answer came.
_BOUGHT = """
UPDATE pending_texts SET bought_at = now()
 WHERE model = $1 AND content_hash = ANY($2) AND bought_at IS NULL
   AND (claimed_by = $3 OR added_at <= (SELECT max(answered_at) FROM calls WHERE work_key = $3 AND call_no = $4))
RETURNING work_key
"""
# Of the attempt that has this answer: another one of the same number may have been answered late, about other texts.
_PART = """
INSERT INTO call_parts (request_id, work_key, share_id, tokens, cost_micro_usd)
SELECT request_id, $3, $4, $5, $6 FROM calls
 WHERE calls.work_key = $1 AND calls.call_no = $2 AND calls.state IN ('answered', 'settled')
   AND calls.answer -> 'hashes' = to_jsonb($7::text[])
ON CONFLICT (request_id, work_key) DO NOTHING
"""
_FAILED = """
UPDATE pending_texts SET failures = failures + 1 WHERE claimed_by = $1 AND bought_at IS NULL
RETURNING work_key, failures
"""
_HAS_ALL = """
UPDATE waiting SET due = now()
 WHERE share_id = $2 AND stage = 'embed' AND gate IS NULL
   AND NOT EXISTS (SELECT FROM pending_texts WHERE work_key = $1 AND bought_at IS NULL)
"""
# What waits behind a gate has its turn there.
_WAKE = """
UPDATE waiting SET due = now() WHERE seq IN (
  SELECT waiting.seq FROM waiting JOIN jobs USING (share_id, stage)
   WHERE jobs.stage = 'embed' AND jobs.work_key = ANY($1) AND jobs.work_key <> $2
     AND waiting.gate IS NULL AND waiting.due > now()
   ORDER BY waiting.seq FOR UPDATE OF waiting)
"""
_TOKENS = "SELECT coalesce(sum(tokens), 0)::bigint AS tokens FROM call_parts WHERE work_key = $1"
_SWEEP = f"""
DELETE FROM pending_texts old
 WHERE EXISTS (SELECT FROM work WHERE work.work_key = old.work_key AND work.result IS NOT NULL)
    OR added_at < now() - $1::interval AND due < now() - $1::interval AND NOT {_LIVE.format(work="old.work_key")}
"""  # noqa: S608 - constants


class PgPendingTexts:
    """Implements `PendingTexts`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def next(self, want: Want) -> Together | Later | Abandoned:
        """One transaction."""

        async def body(connection: Connection) -> Together | Later | Abandoned:
            await connection.execute(_LOCK, want.model)
            just_came = await connection.fetchval(_JUST_CAME, want.model, want.account, want.work_key)
            await connection.executemany(_ADD, _rows(want, in_a_crowd=just_came >= CROWD))
            return await _next(connection, want)

        return await self._db.transaction(body)

    async def bought(self, work_key: WorkKey, call_no: int, model: str, batch: Batch) -> None:
        """One transaction."""
        vectors = vector_rows(model, batch)  # before the lock: of two thousand it takes its time
        parts = [
            (work_key, call_no, one.work_key, one.share_id, one.tokens, one.cost_micro_usd, batch.hashes)
            for one in batch.parts
        ]

        async def body(connection: Connection) -> None:
            await connection.execute(_LOCK, model)
            await keep_vectors(connection, model, vectors)
            rows = await connection.fetch(_BOUGHT, model, batch.hashes, work_key, call_no)
            await connection.executemany(_PART, parts)
            await connection.execute(_WAKE, _works(rows), work_key)

        await self._db.transaction(body)

    async def release(self, work_key: WorkKey, *, alone: bool = False) -> None:
        """One transaction."""

        async def body(connection: Connection) -> None:
            rows = await connection.fetch(_RELEASE, work_key, alone)
            await connection.execute(_WAKE, _works(rows), work_key)

        await self._db.transaction(body)

    async def failed(self, work_key: WorkKey) -> None:
        """One transaction."""

        async def body(connection: Connection) -> None:
            rows = await connection.fetch(_FAILED, work_key)
            if any(row["failures"] >= TRIES_TOGETHER for row in rows):
                await connection.fetch(_RELEASE, work_key, True)
                await connection.execute(_WAKE, _works(rows), work_key)

        await self._db.transaction(body)

    async def wake(self, work_key: WorkKey, share_id: str) -> None:
        """One statement."""
        await self._db.execute(_HAS_ALL, work_key, share_id)

    async def tokens_of(self, work_key: WorkKey) -> int:
        """One query."""
        row = await self._db.fetchrow(_TOKENS, work_key)
        return int(row["tokens"]) if row else 0

    async def sweep(self) -> int:
        """Remove the texts of works that are done, and those that nobody wants any more; how many."""
        return await self._db.execute(_SWEEP, KEPT_FOR)


def _rows(want: Want, *, in_a_crowd: bool) -> list[tuple[object, ...]]:
    times = want.times
    return [
        (
            want.work_key,
            chunk.content_hash,
            want.model,
            want.account,
            want.share_id,
            chunk.text,
            chunk.tokens,
            times.opens,
            times.in_a_crowd if in_a_crowd else times.latest,
            want.again,
        )
        for chunk in want.missing
    ]


async def _next(connection: Connection, want: Want) -> Together | Later | Abandoned:
    claimed = await connection.fetch(_CLAIMED, want.work_key, want.account)
    if claimed:  # by an earlier try, which may have been paid for
        return Together(_first_call(want, claimed))
    mine = await connection.fetch(_MINE, want.work_key)
    if not mine:
        return Together([])
    gone = sorted({WorkKey(row["elsewhere"]) for row in mine if row["elsewhere"] and not row["lives"]})
    for work in gone:
        paid = [(row["call_no"], batch) for row in await connection.fetch(_PAID, work) if (batch := _batch(row))]
        if paid:
            return Abandoned(work, paid)
        await connection.fetch(_RELEASE, work, False)
    free = [row for row in mine if not row["elsewhere"] or not row["lives"]]
    if not free:
        return Later("its texts are being embedded with those of others", LOOK_AGAIN)
    chosen = await _chosen(connection, want, [row for row in free if row["is_open"]])
    if not chosen:
        left = min(row["left"] for row in free)
        return Later("waits for others, to be embedded in one call with them", left)
    works = await connection.fetch(_CLAIM, want.work_key, want.model, [text.content_hash for text in chosen])
    await connection.execute(_STAY, [work for work in _works(works) if work != want.work_key], 4 * LOOK_AGAIN)
    return Together(chosen)


async def _chosen(connection: Connection, want: Want, ready: list[Record]) -> list[PendingText]:
    """What goes now, this work's own texts first; nothing while there is time and the call would not be full."""
    alone = want.alone or any(row["alone"] for row in ready)
    others: list[Record] = []
    if ready and not alone:
        hashes, room = [row["content_hash"] for row in ready], max(want.most_texts - len(ready), 0)
        sql = _OTHERS if want.most_texts <= _USUAL else _MANY_OTHERS
        others = list(await connection.fetch(sql, want.model, want.account, want.work_key, hashes, room))
    texts = list(map(_text, [*ready, *others]))
    is_full = len(texts) >= want.most_texts or sum(text.tokens for text in texts) >= want.most_tokens
    if not texts or not (is_full or alone or any(row["is_due"] for row in ready)):
        return []
    return _first_call(want, [*ready, *others])


def _first_call(want: Want, rows: list[Record]) -> list[PendingText]:
    return next(calls_of(list(map(_text, rows)), texts=want.most_texts, tokens=want.most_tokens))


def _works(rows: list[Record]) -> list[str]:
    return sorted({row["work_key"] for row in rows})


def _text(row: Record) -> PendingText:
    return PendingText(WorkKey(row["work_key"]), row["share_id"], row["content_hash"], row["text"], row["tokens"])


def _batch(row: Record) -> Batch | None:
    try:
        return Batch.model_validate(row["answer"])
    except ValidationError:  # of a version before
        return None
