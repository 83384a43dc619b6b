"""Finishes what calls have left open: an earlier owner of their work died, or a try of it has ended.

Whoever owns the work, or finds it done, does so before anything else. Work that nobody needs any more (its share was
cancelled, its record now asks for another model) is nobody's, so workers of its stage look for such calls.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from millrace.contracts.events import StageName
from millrace.errors import Unavailable
from millrace.ids import RequestId, WorkKey
from millrace.ledger.port import Ledger
from millrace.money import MicroUSD
from millrace.store.calls import CallRow, CallState, CallStore
from millrace.store.work import Busy, Mine, WorkStore

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 60.0
AFTER: Final = timedelta(minutes=2)
"""How long nobody has had a lease before its calls count as left: a job that comes again finishes them sooner."""

PAGE: Final = 50_000
"""Calls that one statement looks at, so that none takes long however many there are."""


class Recovery:
    """Tells the ledger what became of calls."""

    def __init__(self, store: CallStore, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def of_work(self, key: WorkKey) -> None:
        """Bring every call of a piece of work to an end that the ledger knows. Never beside a call in flight.

        :raises Unavailable: the ledger cannot be told; it may be repeated.
        """
        rows = await self._store.of_work(key)
        if any(row.state in ("reserving", "calling") for row in rows):
            for row in rows:
                if row.state == "reserving":
                    await self._store.move(row.request_id, "reserving", "abandoned")
                elif row.state == "calling":
                    why = "the process ended during the call"
                    await self._store.move(row.request_id, "calling", "unconfirmed", why)
            rows = await self._store.of_work(key)  # whoever else moved one may have died before telling
        for row in rows:
            if not row.told_ledger and row.state not in ("reserving", "calling"):
                await self.tell(row, row.state)

    async def tell(self, row: CallRow, state: CallState) -> None:
        """Send the ledger what a call's state calls for, then remember that it was sent."""
        await self.report(row.request_id, row.account, row.scope, state, row.actual)

    async def report(
        self, request: RequestId, account: str, scope: str, state: CallState, actual: MicroUSD | None
    ) -> None:
        """The same, of a call that was not read again."""
        match state:
            case "answered" | "settled":
                await self._ledger.settle(request, account=account, scope=scope, actual=actual or MicroUSD(0))
            case "unconfirmed":
                await self._ledger.unknown(request, account=account, scope=scope)
            case "abandoned" | "released":
                await self._ledger.release(request, account=account, scope=scope)
            case "denied" | "reserving" | "calling":
                pass  # nothing is held, or nothing is known yet
        await self._store.told(request, state)


async def finish_left(work: WorkStore, recovery: Recovery, stage: StageName, key: WorkKey) -> bool:
    """Finish the calls of work that is not worked on; False when somebody has the lease, and will."""
    claim = await work.claim(key, stage)
    if isinstance(claim, Busy):
        return False
    await recovery.of_work(key)
    if isinstance(claim, Mine):
        await work.give_back(key, claim.fence)
    return True


class LeftOpen:
    """Looks for calls that were left open, from where everything older has ended.

    The first look of a process reads all calls. A call is as good as ended when the ledger was told that its end is
    unknown, but its answer may still come for as long as the stage's hard limit: so far each look goes back, and a
    little further for what was written by a transaction that took long.
    """

    def __init__(
        self,
        stage: StageName,
        hard_limit: timedelta,
        calls: CallStore,
        work: WorkStore,
        recovery: Recovery,
        *,
        page: int = PAGE,
    ) -> None:
        self._stage = stage
        self._back = hard_limit + AFTER
        self._calls = calls
        self._work = work
        self._recovery = recovery
        self._page = page
        self._since = datetime(1970, 1, 1, tzinfo=UTC)

    async def watch(self) -> None:
        """Run until cancelled: finish what nobody else will."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Unavailable as exc:
                log.info("%s: calls that were left open are looked at later: %s", self._stage, exc)

    async def look(self) -> None:
        """Finish the calls of works that nobody has had a lease on for a while.

        :raises Unavailable: the ledger cannot be told; the next look begins where this one did.
        """
        begun: list[datetime] = []
        since = self._since
        while (until := await self._calls.end_of_page(since, self._page)) is not None:
            for work in await self._calls.left_open(self._stage, since, until, AFTER):
                begun.append(work.oldest)
                if work.left_alone and await finish_left(self._work, self._recovery, self._stage, work.key):
                    log.warning("%s: calls that its last owner had left open are finished", work.key)
            since = until
        if since > self._since:
            self._since = min([since - self._back, *begun])
