"""Caps in force, and their change while everything runs: a request in the ledger's log like any other."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from millrace.contracts.budget_api import BudgetScope, Cap, CapChange, CapRequest, CapsAnswer
from millrace.contracts.events import CapMode, CostDecision, Window
from millrace.ids import cap_request_id
from millrace.money import MicroUSD, written_usd
from millrace.store.wake import wake_refused
from services.api_gateway.journal import decided, shown
from services.api_gateway.ports import CapLedger

# An account's own cap, also that it has none, goes before that of `default`.
_IN_FORCE = """
SELECT DISTINCT ON (scope, cap_window)
       account, scope, cap_window AS "window", cap_micro_usd, coalesce(cap_mode, 'enforce') AS mode,
       CASE WHEN starts_with(request_id, 'budgets-file:') THEN 'budgets-file' ELSE 'request' END AS set_by,
       decided_at AS since
  FROM ledger_entries WHERE outcome = 'cap-changed' AND account IN ($1, 'default')
 ORDER BY scope, cap_window DESC, (account = $1) DESC, decided_at DESC, request_offset DESC
"""


class CapDesk:
    """Answers for caps; `ledger` is the one that decides, `pool` has its journal and the jobs that wait."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], ledger: CapLedger) -> None:
        self._pool = pool
        self._ledger = ledger

    async def in_force(self, account: str) -> CapsAnswer:
        """The caps that hold for an account, its own and those of `default`."""
        rows = await self._pool.fetch(_IN_FORCE, account)
        return CapsAnswer(account=account, caps=[Cap.model_validate(dict(row)) for row in rows])

    async def change(self, scope: BudgetScope, wish: CapRequest) -> CapChange:
        """Set a cap and wake the work that it refused; returns once the ledger has decided.

        The same wish again changes nothing while its cap is in force, and wakes once more.

        :raises Unavailable: the ledger does not answer.
        """
        caps = (await self.in_force(wish.account)).caps
        before = next((cap for cap in caps if (cap.scope, cap.window) == (scope, wish.window)), None)
        amount = None if wish.cap is None else written_usd(wish.cap)
        mode = wish.mode or (before.mode if before else "enforce")
        with decided("the cap may still change"):
            decisions = await self._ledger.set_cap(
                cap_request_id(wish.account, scope, wish.window, amount, mode),
                account=wish.account,
                scope=scope,
                window=wish.window,
                cap=amount,
                mode=mode,
            )
        await shown(self._pool, decisions)
        woken = await self._wake(wish.account, scope, wish.window, amount, mode)
        changed = any(decision.outcome == "cap-changed" for decision in decisions)
        return CapChange(before=before, now=_now(before, decisions), changed=changed, woken=woken)

    async def _wake(self, account: str, scope: str, window: Window, amount: MicroUSD | None, mode: CapMode) -> int:
        """Let parked work ask again that this cap refused and that could fit now; what does not is parked again."""
        room = None if mode == "warn" else amount
        async with self._pool.acquire() as connection, connection.transaction():
            return await wake_refused(connection, account, scope, window, room)


def _now(before: Cap | None, decisions: Sequence[CostDecision]) -> Cap:
    """What the decisions leave in force: of `default`, one decision a partition, which say the same."""
    last = max(decisions, key=lambda decision: decision.decided_at)
    now = Cap.model_validate(
        {
            "account": last.account,
            "scope": last.scope,
            "window": last.window,
            "cap_micro_usd": last.cap_micro_usd,
            "mode": last.mode,
            "set_by": "request",
            "since": last.decided_at,
        }
    )
    is_known = before is not None and now.model_copy(update={"since": before.since}) == before
    return before if is_known and before is not None and last.outcome == "unchanged" else now
