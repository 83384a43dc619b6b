"""The PostgreSQL journal: every decision once, append-only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from millrace.clock import millis
from millrace.contracts.events import CostDecision
from millrace.errors import ConfigurationError
from services.cost_ledger.effects import effect
from services.cost_ledger.spend import NOT_STARTED, Decided, Done, Known, WindowName, cap_key

_TYPED: Final = (
    "partition integer, request_offset bigint, decision_offset bigint, request_id text, op text, outcome text, "
    "previous text, account text, scope text, hour_start timestamptz, day_start timestamptz, "
    "amount_micro_usd bigint, actual_micro_usd bigint, overrun_micro_usd bigint, settled_change bigint, "
    "held_change bigint, unconfirmed_change bigint, overrun_change bigint, calls_change bigint, denied_by text, "
    "left_micro_usd bigint, cap_micro_usd bigint, cap_window text, cap_mode text, room_at timestamptz, "
    "share_id text, model text, work_key text, reason text, decided_at timestamptz"
)
_FIELDS: Final = [field.split(" ") for field in _TYPED.split(", ")]
COLUMNS: Final = ", ".join(name for name, _ in _FIELDS)
_ARRAYS: Final = ", ".join(f"${number}::{kind}[]" for number, (_, kind) in enumerate(_FIELDS, 1))
# One statement: its trigger changes each sum once, in the order of their keys. Entries are in order, too: of two that
# write the same ones, say before and after a rebalance, one waits for the other, and they never for each other.
_INSERT = f"""
INSERT INTO ledger_entries ({COLUMNS})
SELECT * FROM unnest({_ARRAYS}) AS entry ({COLUMNS}) ORDER BY partition, request_offset
ON CONFLICT DO NOTHING
"""  # noqa: S608  # constants
_LAST = """
SELECT request_offset, decision_offset FROM ledger_entries
WHERE partition = $1 ORDER BY request_offset DESC LIMIT 1
"""

_OTHERS = """
SELECT there.partition, there.request_offset FROM ledger_entries AS there
JOIN unnest($1::integer[], $2::bigint[], $3::text[], $4::timestamptz[])
    AS ours (partition, request_offset, request_id, decided_at) USING (partition, request_offset)
WHERE (there.request_id, there.decided_at) <> (ours.request_id, ours.decided_at)
LIMIT 1
"""

# What a window's entries come to, for windows with an entry among the last so many requests of a partition; `as_of`
# is the last decision that moved money in it.
_RECENT = """
WITH recent AS (
    SELECT DISTINCT account, hour_start, day_start FROM ledger_entries
     WHERE partition = $1 AND hour_start IS NOT NULL
       AND request_offset > (SELECT max(request_offset) FROM ledger_entries WHERE partition = $1) - $2
), moved AS (
    SELECT * FROM ledger_entries
     WHERE (settled_change, held_change, unconfirmed_change, overrun_change, calls_change) <> (0, 0, 0, 0, 0)
), sums AS (
    SELECT 'hour' AS "window", account, scope, hour_start AS start, settled_change, held_change, unconfirmed_change,
           overrun_change, calls_change, decision_offset, decided_at
      FROM moved WHERE (account, hour_start) IN (SELECT account, hour_start FROM recent)
     UNION ALL
    SELECT 'day', account, scope, day_start, settled_change, held_change, unconfirmed_change,
           overrun_change, calls_change, decision_offset, decided_at
      FROM moved WHERE (account, day_start) IN (SELECT account, day_start FROM recent)
)
SELECT "window", account, coalesce(scope, 'total') AS scope, start, sum(settled_change)::bigint AS settled,
       sum(held_change)::bigint AS held, sum(unconfirmed_change)::bigint AS unconfirmed,
       sum(overrun_change)::bigint AS overrun, sum(calls_change)::bigint AS calls,
       max(decision_offset) AS as_of, max(decided_at) AS at
  FROM sums GROUP BY GROUPING SETS (("window", account, scope, start), ("window", account, start))
"""
_CAPS = """
SELECT DISTINCT ON (account, scope, cap_window) account, scope, cap_window AS "window", cap_micro_usd, decision_offset
  FROM ledger_entries WHERE partition = $1 AND outcome = 'cap-changed'
 ORDER BY account, scope, cap_window, decision_offset DESC
"""
RECENT_REQUESTS = 50_000
"""How far back a new owner of the tables looks for rows that a former one wrote late."""


class Journal:
    """Entries of all partitions; written in order within each, so that the last one says how far it is."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    async def done(self, partition: int) -> Done:
        """How far a partition is written.

        Raises what `millrace.store.pool.OUTAGES` names while the database is away.
        """
        row = await self._pool.fetchrow(_LAST, partition)
        return NOT_STARTED if row is None else Done(row["request_offset"], row["decision_offset"])

    async def recent(self, partition: int) -> list[Known]:
        """Windows and caps that the last entries of a partition are about, as the journal has them.

        Raises what `millrace.store.pool.OUTAGES` names while the database is away.
        """
        async with self._pool.acquire() as connection, connection.transaction(isolation="repeatable_read"):
            windows = await connection.fetch(_RECENT, partition, RECENT_REQUESTS)
            caps = await connection.fetch(_CAPS, partition)
        return [
            *(_known_window(row) for row in windows),
            *(
                Known(
                    row["window"],
                    cap_key(partition, row["account"], row["scope"]),
                    {"cap": row["cap_micro_usd"], "as_of": row["decision_offset"]},
                )
                for row in caps
            ),
        ]

    async def write(self, decided: Sequence[Decided]) -> None:
        """Append in one transaction, with what the entries do to the sums; those that are there already stay as they
        are.

        Raises what `millrace.store.pool.OUTAGES` names while the database is away.

        :raises ConfigurationError: what is there was written from another log, say because Kafka's data were lost.
        """
        if not decided:
            return
        columns = [list(values) for values in zip(*(entry(*one) for one in decided), strict=True)]
        partitions = [one.partition for one in decided]
        offsets = [one.decision.request_offset for one in decided]
        ids = [one.decision.request_id for one in decided]
        times = [one.decision.decided_at for one in decided]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_INSERT, *columns)
            other = await connection.fetchrow(_OTHERS, partitions, offsets, ids, times)
            if other is not None:
                raise ConfigurationError(
                    f"The journal in PostgreSQL was written from another log than Kafka's (partition {other[0]}, "
                    f"request {other[1]}): use the database that belongs to this Kafka, or an empty one."
                )


def _known_window(row: asyncpg.Record) -> Known:
    name = WindowName(row["account"], row["scope"], millis(row["start"]))
    sums = {field: row[field] for field in ("settled", "held", "unconfirmed", "overrun", "calls", "as_of")}
    return Known(row["window"], name.key, {**sums, "at": millis(row["at"])})


def entry(partition: int, offset: int, decision: CostDecision) -> tuple[object, ...]:
    """A decision as values of `COLUMNS`."""
    change = effect(decision)
    return (
        partition,
        decision.request_offset,
        offset,
        decision.request_id,
        decision.op,
        decision.outcome,
        decision.previous,
        decision.account,
        decision.scope,
        decision.hour_start,
        decision.day_start,
        decision.amount_micro_usd,
        decision.actual_micro_usd,
        decision.overrun_micro_usd,
        change.settled,
        change.held,
        change.unconfirmed,
        change.overrun,
        change.calls,
        decision.denied_by,
        decision.left_micro_usd,
        decision.cap_micro_usd,
        decision.window,
        decision.mode,
        decision.room_at,
        decision.share_id,
        decision.model,
        decision.work_key,
        decision.reason,
        decision.decided_at,
    )
