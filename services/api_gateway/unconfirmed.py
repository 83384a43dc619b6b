"""Calls that may have been billed: which they are, and what a person found out about one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from millrace.contracts.budget_api import Reconciled, ReconcileRequest, UnconfirmedAnswer, UnconfirmedCall
from millrace.contracts.events import CostDecision
from millrace.ids import RequestId
from millrace.money import MicroUSD, format_usd, written_usd
from services.api_gateway.errors import NotFound, NotNow
from services.api_gateway.journal import decided, shown
from services.api_gateway.log_places import START, Place, cursor_of, place_of
from services.api_gateway.ports import Reconciler

# Calls of local models that cost nothing are left out: nothing stays charged for them.
_PAGE = """
SELECT account, scope, request_id, share_id, model, amount_micro_usd, decided_at AS since, partition, request_offset
  FROM ledger_entries AS became
 WHERE unconfirmed_change > 0 AND ($1::text IS NULL OR account = $1)
   AND (decided_at, partition, request_offset) > ($2, $3, $4)
   AND NOT EXISTS (
       SELECT FROM ledger_entries AS ended
        WHERE (ended.request_id, ended.account, ended.partition)
            = (became.request_id, became.account, became.partition)
          AND ended.unconfirmed_change < 0 AND ended.request_offset > became.request_offset)
 ORDER BY decided_at, partition, request_offset LIMIT $5
"""
# The last decision that moved each account's call of this id: repeats say again what was decided before.
_STANDING = """
SELECT DISTINCT ON (account) account, scope, outcome, amount_micro_usd, actual_micro_usd, overrun_micro_usd
  FROM ledger_entries
 WHERE request_id = $1 AND ($2::text IS NULL OR account = $2)
   AND (outcome IN ('granted', 'denied') AND previous IS NULL
        OR outcome IN ('settled', 'reconciled') AND previous <> 'settled'
        OR outcome = 'released' AND previous IS DISTINCT FROM 'released'
        OR outcome = 'unconfirmed' AND previous = 'held')
 ORDER BY account, decided_at DESC, request_offset DESC
"""


@dataclass(frozen=True)
class Standing:
    """Where an account's call stands by the journal: the outcome that moved it last, amounts in micro-US-dollars."""

    account: str
    scope: str
    outcome: str
    amount: MicroUSD
    actual: MicroUSD
    overrun: MicroUSD


def to_reconcile(found: Sequence[Standing], actual: MicroUSD) -> tuple[Standing, bool]:
    """The call that is meant, and whether it is settled at this amount already.

    :raises NotFound: there is none.
    :raises NotNow: there are several, or it is not unconfirmed.
    """
    if not found:
        raise NotFound("The ledger has no call with this request id.")
    if len(found) > 1:
        raise NotNow("Calls of several accounts have this request id; name the account.")
    (call,) = found
    if call.outcome == "unconfirmed":
        return call, False
    if call.outcome in ("reconciled", "settled"):
        if call.actual == actual:
            return call, True
        raise NotNow(f"The call is {call.outcome} at {format_usd(call.actual)} already, and that is final.")
    state = "still held" if call.outcome == "granted" else call.outcome
    raise NotNow(f"The call is {state}, not unconfirmed; there is nothing to reconcile.")


def verdict(decision: CostDecision, actual: MicroUSD) -> Reconciled:
    """What the ledger's decision means to whoever wanted `actual`.

    :raises NotNow: something else had ended the call before.
    """
    if decision.outcome != "reconciled":
        raise NotNow(f"The ledger has changed nothing: {decision.reason or 'the call is not unconfirmed'}.")
    if decision.actual_micro_usd != actual:
        raise NotNow(f"The call is settled at {format_usd(decision.actual_micro_usd)} already, and that is final.")
    return Reconciled(
        request_id=decision.request_id,
        account=decision.account,
        scope=decision.scope,
        amount_micro_usd=decision.amount_micro_usd,
        actual_micro_usd=decision.actual_micro_usd,
        overrun_micro_usd=decision.overrun_micro_usd,
        repeated=decision.previous != "unconfirmed",
    )


class UnconfirmedDesk:
    """Lists unconfirmed calls and reconciles them; `ledger` decides, `pool` has its journal."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], ledger: Reconciler) -> None:
        self._pool = pool
        self._ledger = ledger

    async def page(self, account: str | None, cursor: str | None, limit: int) -> UnconfirmedAnswer:
        """The next `limit` calls behind a cursor, oldest first, of one account or of all.

        :raises Unreadable: the cursor is none.
        """
        after = place_of(cursor, START)
        rows = await self._pool.fetch(_PAGE, account, after.at, after.partition, after.offset, limit + 1)
        calls = [UnconfirmedCall.model_validate(dict(row)) for row in rows[:limit]]
        if len(rows) <= limit:
            return UnconfirmedAnswer(calls=calls)
        last = rows[limit - 1]
        return UnconfirmedAnswer(
            calls=calls, next=cursor_of(Place(last["since"], last["partition"], last["request_offset"]))
        )

    async def reconcile(self, request_id: str, wish: ReconcileRequest) -> Reconciled:
        """Settle an unconfirmed call at what it cost; returns once the ledger has decided. May be repeated.

        :raises NotFound: the journal has no such call.
        :raises NotNow: it is not unconfirmed, or was reconciled at another amount.
        :raises Unavailable: the ledger does not answer.
        """
        actual = written_usd(wish.actual)
        call, done = to_reconcile(await self._standing(request_id, wish.account), actual)
        if done:
            return Reconciled(
                request_id=request_id,
                account=call.account,
                scope=call.scope,
                amount_micro_usd=call.amount,
                actual_micro_usd=call.actual,
                overrun_micro_usd=call.overrun,
                repeated=True,
            )
        with decided("the call may still be reconciled"):
            decision = await self._ledger.reconcile(
                RequestId(request_id), account=call.account, scope=call.scope, actual=actual
            )
        await shown(self._pool, [decision])
        return verdict(decision, actual)

    async def _standing(self, request_id: str, account: str | None) -> list[Standing]:
        return [Standing(*row) for row in await self._pool.fetch(_STANDING, request_id, account)]
