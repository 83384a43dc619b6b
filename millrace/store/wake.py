"""What a person has mended: gates are opened, and what waited for that goes on, in the caller's transaction."""

from __future__ import annotations

from typing import Final

from millrace.contracts.events import StageName, Window
from millrace.money import MicroUSD
from millrace.store.database import Connection, rows_changed
from millrace.store.gate_names import BUDGET, budget_gate

_EVERYBODY: Final = "default"
"""The account whose caps hold for all that have none of their own."""

# One that has not moved for so long lets somebody through at once, whatever was under way (`millrace.store.waiting`).
_OPEN = "UPDATE gates SET until = least(until, now()), moved_at = 'epoch'"
_TRY = f"{_OPEN} WHERE stage = $1 AND name = $2"
# The rule of `millrace.store.waiting`: who changes what waits behind a gate locks its row before anything else. One
# statement for all of it would not do that: PostgreSQL runs a WITH that changes something and is not read from last,
# so what waits would be locked before its gate. Those whose budget refuses wait behind a budget's gate and no other.
_LOCK_GATES = """
SELECT FROM gates WHERE name = $1 OR ($2 AND starts_with(name, $3)) ORDER BY stage, name FOR UPDATE
"""
_OPEN_REFUSED = f"{_OPEN} WHERE cap = $1 AND ($3 OR name = $2)"
# `jobs.cap` is the cap that refused for longest: while that stands, the job would be refused again. A gate that is
# opened in vain costs one refusal. An account's own cap, also that it has none, goes before that of everybody.
_WAKE = """
UPDATE waiting SET due = now()
  FROM jobs
 WHERE (jobs.share_id, jobs.stage) = (waiting.share_id, waiting.stage) AND waiting.due > now()
   AND jobs.state = 'parked' AND jobs.cap = $5 || ':' || $4
   AND ($3::bigint IS NULL OR coalesce(jobs.needed_micro_usd, 0) <= $3)
   AND (waiting.account = $1
        OR $2 AND NOT EXISTS (
           SELECT FROM ledger_entries AS own
            WHERE own.outcome = 'cap-changed' AND own.account = waiting.account
              AND own.scope = $4 AND own.cap_window = $5))
"""


async def try_now(connection: Connection, stage: StageName, gate: str) -> None:
    """Let one job through a gate at once."""
    await connection.execute(_TRY, stage, gate)


async def wake_refused(
    connection: Connection, account: str, scope: str, window: Window, room: MicroUSD | None
) -> int:
    """Let work ask again that an account's cap has refused; how much of it.

    Before anything else of a transaction. A cap of `default` is that of all accounts without their own.

    :param room: only what needs no more; None: all.
    """
    everybody = account == _EVERYBODY
    gate = budget_gate(account)
    await connection.execute(_LOCK_GATES, gate, everybody, BUDGET)
    await connection.execute(_OPEN_REFUSED, f"{window}:{scope}", gate, everybody)
    return rows_changed(await connection.execute(_WAKE, account, everybody, room, scope, window))
