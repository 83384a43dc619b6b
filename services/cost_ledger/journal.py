"""The PostgreSQL journal: every decision once, append-only."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from millrace.contracts.events import CostDecision
from millrace.errors import ConfigurationError
from services.cost_ledger.effects import effect
from services.cost_ledger.spend import NOT_STARTED, Decided, Done

COLUMNS = (
    "partition, request_offset, decision_offset, request_id, op, outcome, previous, account, scope, hour_start, "
    "day_start, amount_micro_usd, actual_micro_usd, overrun_micro_usd, settled_change, held_change, "
    "unconfirmed_change, overrun_change, calls_change, denied_by, left_micro_usd, cap_micro_usd, cap_window, "
    "cap_mode, room_at, share_id, model, work_key, reason, decided_at"
)
_VALUES = ", ".join(f"${number}" for number in range(1, COLUMNS.count(",") + 2))
_INSERT = f"INSERT INTO ledger_entries ({COLUMNS}) VALUES ({_VALUES}) ON CONFLICT DO NOTHING"  # noqa: S608  # constants
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

    async def write(self, decided: Sequence[Decided]) -> None:
        """Append in one transaction; entries that are there already stay as they are.

        Raises what `millrace.store.pool.OUTAGES` names while the database is away.

        :raises ConfigurationError: what is there was written from another log, say because Kafka's data were lost.
        """
        partitions = [one.partition for one in decided]
        offsets = [one.decision.request_offset for one in decided]
        ids = [one.decision.request_id for one in decided]
        times = [one.decision.decided_at for one in decided]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.executemany(_INSERT, [entry(*one) for one in decided])
            other = await connection.fetchrow(_OTHERS, partitions, offsets, ids, times)
            if other is not None:
                raise ConfigurationError(
                    f"The journal in PostgreSQL was written from another log than Kafka's (partition {other[0]}, "
                    f"request {other[1]}): use the database that belongs to this Kafka, or an empty one."
                )


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
