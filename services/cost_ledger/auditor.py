"""Holds everything that the ledger has written beside its log; it may work meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from itertools import chain

from millrace.clock import from_millis
from services.cost_ledger.again import Again
from services.cost_ledger.audit import Differences, PartitionAudit, Places, first_whole_day
from services.cost_ledger.connections import Books, Report
from services.cost_ledger.rows import Position
from services.cost_ledger.spend import Decided
from services.cost_ledger.state import Logged


class _Pass:
    """One look at everything. `required`: by partition, the decision that all places must have seen by now."""

    def __init__(self, books: Books, required: Mapping[int, Decided]) -> None:
        self.differences = Differences()
        self.last: dict[int, Decided] = {}
        self.report = Report()
        self._books = books
        self._required = required

    async def run(self) -> None:
        """Partition by partition, then the journal."""
        await self._books.entries.begin()
        for partition in range(self._books.partitions):
            places = await asyncio.to_thread(self._books.reader.places, partition)
            await self._partition(partition, places)
        required = {**self.last, **self._required}
        reached = {p: one.decision.request_offset for p, one in required.items()}
        await self._books.entries.compare(reached, self.differences)
        self.report.difference_count = self.differences.count
        self.report.differences = [one._asdict() for one in self.differences.shown]
        self.report.ok = not self.differences.count

    async def _partition(self, partition: int, places: Places) -> None:
        audit: PartitionAudit | None = None
        again: Again | None = None
        async for chunk in self._books.chunks(partition):
            if audit is None:
                since = first_whole_day(chunk[0].decision)
                if since:
                    self.report.since = f"{from_millis(since):%Y-%m-%d}"
                required = self._required.get(partition)
                audit = PartitionAudit(
                    partition, places, self.differences, since_ms=since, required=required and required.offset
                )
                again = None if since else await asyncio.to_thread(self._again, partition, audit.position)
            await asyncio.to_thread(self._follow, chunk, audit, again)
        if audit is None:
            return
        audit.end()
        self.last[partition] = audit.last
        self.report.decided_again += 0 if again is None else again.requests

    def _follow(self, chunk: list[Decided], audit: PartitionAudit, again: Again | None) -> None:
        self.report.decisions += len(chunk)
        for decided in chunk:
            audit.follow(decided)
            if again is not None:
                again.follow(decided)

    def _again(self, partition: int, position: Position) -> Again | None:
        """None: the first request is not kept any more."""
        requests: Iterator[Logged] = self._books.reader.requests(partition)
        first = next(requests, None)
        if first is None or first.offset != 0:
            return None
        home = self._books.home
        return Again(chain([first], requests), lambda account: home(account) == partition, position, self.differences)


async def audit(books: Books, wait_s: float) -> Report:
    """Look until everything agrees, or what is behind has had `wait_s` seconds to come: then what does not."""
    required: dict[int, Decided] = {}
    until = time.monotonic() + wait_s
    while True:
        look = _Pass(books, required)
        await look.run()
        if look.report.ok or time.monotonic() > until:
            return look.report
        # What was on its way is there by now, or never comes: the second look asks for what the first one saw.
        required = required or look.last
        await _recorded(books, required, until)


async def _recorded(books: Books, required: Mapping[int, Decided], until: float) -> None:
    """Wait until the journal has come so far; the tables follow it within a moment."""
    while time.monotonic() < until:
        await asyncio.sleep(1.0)
        done = {p: await books.journal.done(p) for p in required}
        if all(done[p].request_offset >= one.decision.request_offset for p, one in required.items()):
            return
