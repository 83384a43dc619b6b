"""What a recorder of spend works on: its tables, journal, log and topic, as they survive a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import asyncpg

from millrace.clock import millis
from millrace.contracts.events import CostSpend
from services.cost_ledger.recorder import Alarm, Arrived, Recorder, Touched
from services.cost_ledger.rows import WindowKey, WindowRow
from services.cost_ledger.spend import Decided, Done, JsonRow, Known, SpendBook
from services.cost_ledger.windows import WINDOWS


def home(account: str) -> int:
    """Everybody lives in partition 0, but for one."""
    return 1 if account == "elsewhere" else 0


class Log:
    """All decisions, to be read again."""

    def __init__(self, decided: Sequence[Decided]) -> None:
        self.decided = list(decided)
        self.reads: list[tuple[int, int]] = []

    async def between(self, partition: int, start: int, stop: int) -> AsyncIterator[list[Decided]]:
        self.reads.append((start, stop))
        wanted = [one for one in self.decided if one.partition == partition and start <= one.offset < stop]
        for begin in range(0, len(wanted), 7):
            yield wanted[begin : begin + 7]


class FakeJournal:
    """Entries by partition and request, as the table's key is."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], Decided] = {}
        self.order: list[int] = []
        self.outages = 0

    async def done(self, partition: int) -> Done:
        mine = [(key[1], one.offset) for key, one in self.entries.items() if key[0] == partition]
        return Done(*max(mine)) if mine else Done(-1, -1)

    async def recent(self, partition: int) -> list[Known]:
        """By the same pure functions as the tables; that SQL comes to the same is tested on the real database."""
        books = [SpendBook(window, {}, lambda _: partition) for window in WINDOWS]
        for key in sorted(self.entries):
            for book in books:
                if key[0] == partition:
                    book.apply(self.entries[key])
        return [Known(book.window, key, row) for book in books for key, row in book.rows.items()]

    async def write(self, decided: Sequence[Decided]) -> None:
        if self.outages:
            self.outages -= 1
            raise asyncpg.PostgresConnectionError
        for one in decided:
            self.order.append(one.decision.request_offset)
            self.entries.setdefault((one.partition, one.decision.request_offset), one)


class FakePublisher:
    """The latest row by key, as a compacted topic keeps it."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str, int], CostSpend] = {}

    async def publish(self, rows: Sequence[CostSpend]) -> None:
        for row in rows:
            self.rows[row.account, row.scope, row.window, millis(row.start)] = row


class Silence:
    """Raises nothing."""

    async def raise_for(self, book: SpendBook, touched: Sequence[Touched]) -> None:
        """Nothing is due."""

    def forget(self) -> None:
        """Nothing is kept."""


class World:
    """Tables, journal and topic as they survive a process; `live` is one life of a process."""

    def __init__(self, decided: Sequence[Decided]) -> None:
        self.hours: dict[str, JsonRow] = {}
        self.days: dict[str, JsonRow] = {}
        self.journal = FakeJournal()
        self.publisher = FakePublisher()
        self.log = Log(decided)
        self.acked: list[int] = []
        self.failures: list[str] = []
        self.alarm: Alarm = Silence()

    def recorder(self) -> Recorder:
        """A new process."""
        return Recorder(
            (SpendBook("hour", self.hours, home), SpendBook("day", self.days, home)),
            self.journal,
            self.log,
            self.publisher,
            self.alarm,
            fatal=self.failures.append,
            pause_s=0,
            gather_s=0,
        )

    async def live(self, arriving: Sequence[Decided]) -> None:
        """Feed decisions to a new recorder until the last one is acknowledged."""
        recorder = self.recorder()
        finished = asyncio.Event()
        await recorder.start()
        try:
            for one in arriving[:-1]:
                await recorder.put(Arrived(one, self._ack(one), lambda: True))
            await recorder.put(Arrived(arriving[-1], finished.set, lambda: True))
            async with asyncio.timeout(5):
                await finished.wait()
        finally:
            await recorder.stop()
        assert self.failures == []

    def _ack(self, one: Decided) -> Callable[[], None]:
        return lambda: self.acked.append(one.offset)

    def spent(self) -> dict[WindowKey, WindowRow]:
        """What the world can see."""
        return {
            WindowKey(row.account, row.scope, row.window, millis(row.start)): WindowRow(
                row.settled_micro_usd,
                row.held_micro_usd,
                row.unconfirmed_micro_usd,
                row.overrun_micro_usd,
                row.calls,
            )
            for row in self.publisher.rows.values()
            if row.as_of_offset >= 0
        }

    def journaled(self) -> list[int]:
        """Requests in the journal, in the order of their entries."""
        return list(dict.fromkeys(self.journal.order))
