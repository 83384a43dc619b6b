"""Provider calls and the holds of money behind them, so that no crash forgets what was asked, called or paid.

    reserving ──granted──▶ calling ──answer──▶ answered ──ledger told──▶ settled
        │  │                 │   ╲
        │  └─refused▶ denied │    ╲─error: nothing was paid──▶ released
        └─takeover▶ abandoned└─error or takeover: nobody knows──▶ unconfirmed ──late answer──▶ answered
                                                              ╲─late word that nothing was paid──▶ released

`told_ledger` says whether the ledger has been sent the settle, release or unknown that the state calls for, `counted`
whether the call uses up its work's budget of attempts: not when it failed for everybody, nor in a later round.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import JsonValue

from millrace.contracts.events import StageName
from millrace.ids import RequestId, WorkKey, request_id
from millrace.money import MicroUSD
from millrace.store.database import Database, Record
from millrace.store.grouped import Grouped
from millrace.store.work import Fence
from millrace.text import storable

CallState = Literal["reserving", "calling", "answered", "settled", "denied", "abandoned", "released", "unconfirmed"]


LEFT_OPEN = "(state IN ('reserving', 'calling') OR NOT told_ledger AND state <> 'denied')"
"""Of a call: its end is not known, or the ledger was not told. While its work is leased that is as it should be."""

_BEGIN = """
INSERT INTO calls (request_id, work_key, call_no, attempt, account, scope, share_id, model, state, hold_micro_usd)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, 'reserving', $9 FROM work WHERE work_key = $2 AND fence = $10 FOR SHARE
ON CONFLICT (request_id) DO UPDATE SET state = calls.state WHERE calls.state = 'reserving'
RETURNING request_id AS key
"""
_START = """
UPDATE calls SET state = 'calling', called_at = coalesce(called_at, now()), reason = $2
 WHERE request_id = $1 AND state IN ('reserving', 'calling')
RETURNING request_id AS key
"""
_ANSWERED = """
UPDATE calls SET state = 'answered', answer = $2::jsonb, actual_micro_usd = $3, answered_at = now(),
       told_ledger = false
 WHERE request_id = $1 AND state IN ('calling', 'unconfirmed')
RETURNING request_id AS key
"""
_TOLD = """
UPDATE calls SET told_ledger = true, settled_at = now(),
       state = CASE state WHEN 'answered' THEN 'settled' ELSE state END
 WHERE request_id = $1 AND state = $2
RETURNING request_id AS key
"""


@dataclass(frozen=True)
class CallRow:
    """One call at one attempt; amounts in micro-US-dollars."""

    request_id: RequestId
    call_no: int
    attempt: int
    account: str
    scope: str
    state: CallState
    told_ledger: bool
    was_called: bool
    counted: bool
    reason: str | None
    hold: MicroUSD
    actual: MicroUSD | None
    answer: JsonValue


@dataclass(frozen=True)
class OpenWork:
    """Work that has open calls: when the oldest of them began, and whether nobody has had a lease on it for long."""

    key: WorkKey
    oldest: datetime
    left_alone: bool


def _call(row: Record) -> CallRow:
    actual = row["actual_micro_usd"]
    return CallRow(
        request_id=RequestId(row["request_id"]),
        call_no=row["call_no"],
        attempt=row["attempt"],
        account=row["account"],
        scope=row["scope"],
        state=row["state"],
        told_ledger=row["told_ledger"],
        was_called=row["called_at"] is not None,
        counted=row["counted"],
        reason=row["reason"],
        hold=MicroUSD(row["hold_micro_usd"]),
        actual=None if actual is None else MicroUSD(actual),
        answer=row["answer"],
    )


class CallStore:
    """Rows of `calls`; every change is a compare-and-set on the state."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._begin = Grouped(database, _BEGIN)
        self._start = Grouped(database, _START)
        self._answered = Grouped(database, _ANSWERED)
        self._told = Grouped(database, _TOLD)

    async def of_work(self, key: WorkKey, call_no: int | None = None) -> list[CallRow]:
        """All attempts at the calls of a piece of work (or at one of its calls), oldest first."""
        rows = await self._db.fetch(
            "SELECT * FROM calls WHERE work_key = $1 AND ($2::int IS NULL OR call_no = $2) ORDER BY call_no, attempt",
            key,
            call_no,
        )
        return [_call(row) for row in rows]

    async def end_of_page(self, since: datetime, size: int) -> datetime | None:
        """When the last of the next so many calls began, in the order in which they began; None: none has since.

        Always later than `since`, however many calls began at one time.
        """
        row = await self._db.fetchrow(
            """
            SELECT max(created_at) AS until
              FROM (SELECT created_at FROM calls WHERE created_at > $1 ORDER BY created_at LIMIT $2) AS page
            """,
            since,
            size,
        )
        return row["until"] if row else None

    async def left_open(self, stage: StageName, since: datetime, until: datetime, after: timedelta) -> list[OpenWork]:
        """Works of a stage with open calls that began between the two, both included; left alone: without a lease for
        longer than `after`.
        """
        rows = await self._db.fetch(
            f"""
            SELECT work.work_key, min(calls.created_at) AS oldest,
                   work.lease_until < now() - $4::interval AS left_alone
              FROM calls JOIN work USING (work_key)
             WHERE calls.created_at BETWEEN $2 AND $3 AND {LEFT_OPEN} AND work.stage = $1
             GROUP BY work.work_key
            """,  # noqa: S608  # a constant
            stage,
            since,
            until,
            after,
        )
        return [OpenWork(WorkKey(row["work_key"]), row["oldest"], row["left_alone"]) for row in rows]

    async def begin(
        self,
        key: WorkKey,
        call_no: int,
        attempt: int,
        *,
        account: str,
        scope: str,
        share_id: str,
        model: str,
        hold: MicroUSD,
        fence: Fence,
    ) -> RequestId | None:
        """Write down that money is about to be asked for, before it is; None when the fence is no longer the newest.

        The work's row is locked against a takeover meanwhile, so that a former owner cannot come to the same attempt
        as its successor: the two would share a request id, and end each other's hold.
        """
        request = request_id(key, call_no, attempt)
        begun = await self._begin(
            request,
            key,
            call_no,
            attempt,
            account,
            scope,
            share_id,
            model,
            hold,
            fence,
        )
        return request if begun else None

    async def start(self, request: RequestId, warning: str | None = None) -> bool:
        """From reserving to calling, with what the grant warns of; False when a new owner has abandoned the call.

        Calling already: the reply to the first try was lost. A request id is only ever its owner's.
        """
        return await self._start(request, warning) is not None

    async def answered(self, request: RequestId, answer: JsonValue, actual: MicroUSD) -> None:
        """Keep a paid answer, whoever owns the work by now."""
        await self._answered(request, answer, actual)

    async def move(
        self,
        request: RequestId,
        before: CallState,
        after: CallState,
        reason: str | None = None,
        *,
        counted: bool = True,
    ) -> bool:
        """Compare-and-set; False when the state is no longer `before`. The reason goes behind the grant's warning."""
        sql = """
            UPDATE calls SET state = $3, reason = nullif(concat_ws('; ', reason, $4::text), ''), told_ledger = false,
                   counted = counted AND $5
             WHERE request_id = $1 AND state = $2
        """
        clean = None if reason is None else storable(reason)
        return await self._db.execute(sql, request, before, after, clean, counted) == 1

    async def told(self, request: RequestId, state: CallState) -> None:
        """The ledger has what the state calls for; an answered call is settled by it."""
        await self._told(request, state)
