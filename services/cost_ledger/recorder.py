"""Brings decisions into the spend tables, the journal and the spend topic, in order and without gaps.

What Faust delivers and commits is a hint, not the truth: how far a partition is done stands in the tables and in the
journal themselves. Whatever is missing between there and a decision that arrives, or the end of the log when nothing
arrives any more, is read from the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections import ChainMap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar

from mode import Service

from millrace.contracts.events import CostSpend, Window
from millrace.store.pool import OUTAGES
from millrace.tracing.spans import together
from services.cost_ledger import metrics
from services.cost_ledger.spend import Decided, Done, Known, SpendBook, WindowName

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_BATCH: Final = 500


class Arrived(NamedTuple):
    """A decision as the stream brought it.

    `ack` lets Faust commit past it; `ours` says whether it was delivered since partitions moved last: one from before
    may belong to another worker by now, which would see its table written behind its back.
    """

    decided: Decided
    ack: Callable[[], object]
    ours: Callable[[], bool]
    trace: bytes | None = None


class Behind(NamedTuple):
    """A partition for which nothing arrives although its log goes on up to before `end`; `ours` as in `Arrived`."""

    partition: int
    end: int
    ours: Callable[[], bool]


class Overwritten(NamedTuple):
    """Rows of a partition's tables that somebody else wrote over with older ones; `ours` as in `Arrived`."""

    partition: int
    keys: Mapping[Window, AbstractSet[str]]
    ours: Callable[[], bool]


class Taken(NamedTuple):
    """A partition that is this worker's now; `ours` as in `Arrived`."""

    partition: int
    ours: Callable[[], bool]


Task: TypeAlias = Arrived | Behind | Overwritten | Taken


class DecisionLog(Protocol):
    """The log of decisions, to be read again."""

    def between(self, partition: int, start: int, stop: int) -> AsyncIterator[list[Decided]]:
        """Committed decisions at offsets from `start` up to before `stop`, in order, as far as they are kept."""
        ...


class Entries(Protocol):
    """The journal. Raises what `millrace.store.pool.OUTAGES` names while the database is away."""

    async def done(self, partition: int) -> Done:
        """How far a partition is written."""
        ...

    async def recent(self, partition: int) -> list[Known]:
        """Windows and caps that the last entries of a partition are about, as the journal has them."""
        ...

    async def write(self, decided: Sequence[Decided]) -> None:
        """Append all or nothing; what is there already stays."""
        ...


class Publisher(Protocol):
    """Where the rows of the spend topic go."""

    async def publish(self, rows: Sequence[CostSpend]) -> None:
        """Send and wait until all are confirmed."""
        ...


class Touched(NamedTuple):
    """A window's row as it is published, and when the last decision that concerned it was made."""

    row: CostSpend
    at: datetime


class Alarm(Protocol):
    """Raises alerts about windows."""

    async def raise_for(self, book: SpendBook, touched: Sequence[Touched]) -> None:
        """Raise what is due and note it in the book; may be repeated.

        Raises what `millrace.store.pool.OUTAGES` names while the database is away.
        """
        ...

    def forget(self) -> None:
        """Partitions move: windows may belong to another worker by now."""
        ...


class Recorder(Service):
    """Works through arrived decisions in batches; one at a time, so that order is never in question."""

    def __init__(
        self,
        books: Sequence[SpendBook],
        journal: Entries,
        decisions: DecisionLog,
        publisher: Publisher,
        alarm: Alarm,
        *,
        fatal: Callable[[str], None],
        pause_s: float = 1.0,
        gather_s: float = 0.05,
    ) -> None:
        super().__init__()
        self._books = books
        self._journal = journal
        self._decisions = decisions
        self._publisher = publisher
        self._alarm = alarm
        self._fatal = fatal
        self._pause_s = pause_s
        self._gather_s = gather_s
        self._queue: asyncio.Queue[Task] = asyncio.Queue(maxsize=2 * MAX_BATCH)
        self._done: dict[int, Done] = {}
        self._batch: asyncio.Task[None] | None = None
        self._reached: dict[int, int] = {}

    async def on_start(self) -> None:
        """Begin to work."""
        self.add_future(self._run())

    async def put(self, task: Task) -> None:
        """Take a decision, or something else to be done in turn; waits while many are waiting."""
        await self._queue.put(task)

    @property
    def idle(self) -> bool:
        """Nothing is waiting and nothing is at work."""
        return self._queue.empty() and (self._batch is None or self._batch.done())

    async def forget(self) -> None:
        """Partitions move: give up the batch at hand and drop the rest; nothing of it is acknowledged.

        It does not wait for the batch: with the database away that would hold up the whole group.
        """
        while not self._queue.empty():
            self._queue.get_nowait()
        if self._batch is not None:
            self._batch.cancel()
            await asyncio.wait([self._batch])
        self._done.clear()
        self._reached.clear()
        self._alarm.forget()

    def reached(self, partition: int) -> int:
        """All decisions before this offset are recorded; 0 when that is not known here yet."""
        return self._reached.get(partition, 0)

    async def _run(self) -> None:
        try:
            while not self.should_stop:
                batch = [await self._queue.get()]
                # A batch costs a transaction and a handful of messages, whether it holds one decision or a hundred.
                await asyncio.sleep(self._gather_s)
                while len(batch) < MAX_BATCH and not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                self._batch = asyncio.create_task(self._record([one for one in batch if one.ours()]))
                await asyncio.wait([self._batch])
                if not self._batch.cancelled():
                    self._batch.result()
        except Exception as exc:
            log.exception("the spend tables failed")
            self._fatal(f"The cost ledger ends: {type(exc).__name__}: {exc}")
        finally:
            if self._batch is not None:
                self._batch.cancel()

    async def on_stop(self) -> None:
        """Give up the batch at hand, which nobody has acknowledged."""
        await self.forget()

    async def _record(self, batch: Sequence[Task]) -> None:
        with together("record", [one.trace for one in batch if isinstance(one, Arrived)]):
            await self._in_turn(batch)

    async def _in_turn(self, batch: Sequence[Task]) -> None:
        ready: list[Decided] = []
        for one in batch:
            if not isinstance(one, Arrived):
                await self._write(ready)
                ready = []
                await self._see_to(one)
                continue
            partition, offset, decision = one.decided
            if decision.outcome == "day-opened":
                continue  # moves no money, and shares its offset with the request that opened the day
            done = self._done.get(partition) or await self._where(partition)
            if decision.request_offset > done.request_offset + 1:
                # In order: what is ready comes before what is missing.
                await self._write(ready)
                ready = []
                done = await self._catch_up(partition, done, Done(decision.request_offset, offset))
            ready.append(Decided(partition, offset, decision))
            self._done[partition] = max(done, Done(decision.request_offset, offset))
        await self._write(ready)
        for one in batch:
            if isinstance(one, Arrived):
                one.ack()

    async def _see_to(self, task: Behind | Overwritten | Taken) -> None:
        match task:
            case Behind():
                await self._read_to_the_end(task)
            case Taken(partition):
                if partition not in self._done:
                    self._done[partition] = await self._where(partition)
            case Overwritten(partition, keys):
                log.warning("partition %d: somebody who has lost it has written to its tables", partition)
                names = [(book, book.rewrite(keys.get(book.window, ()))) for book in self._books]
                await self._publisher.publish([book.published(name) for book, found in names for name in found])

    async def _read_to_the_end(self, behind: Behind) -> None:
        partition, end, _ = behind
        done = self._done.get(partition) or await self._where(partition)
        self._done[partition] = await self._read(partition, done, end)
        self._reached[partition] = max(self._reached.get(partition, 0), end)

    async def _catch_up(self, partition: int, done: Done, arrived: Done) -> Done:
        """Record the decisions between those that are done and one that arrived; how far that came."""
        done = await self._read(partition, done, arrived.decision_offset)
        if done.request_offset + 1 < arrived.request_offset:
            log.error(
                "partition %d: decisions on requests %d to %d are past retention and were not recorded",
                partition,
                done.request_offset + 1,
                arrived.request_offset - 1,
            )
        return done

    async def _read(self, partition: int, done: Done, stop: int) -> Done:
        """Record the decisions after those that are done and before the offset `stop`."""
        log.info("partition %d: decisions after offset %d are read again", partition, done.decision_offset)
        async for chunk in self._decisions.between(partition, done.decision_offset + 1, stop):
            missing = [one for one in chunk if one.decision.outcome != "day-opened"]
            await self._write(missing)
            done = _last(missing).get(partition, done)
        return done

    async def _where(self, partition: int) -> Done:
        """How far a partition is done everywhere, once its tables are what the journal knows at least.

        A former owner that was paused may have written rows after this one's, before or after it was read: rows that
        are older than the position beside them. What they lack would be missing for good.
        """
        known = await self._until_it_works("the journal", lambda: self._journal.recent(partition))
        mended = [(book, book.mend(known)) for book in self._books]
        await self._publisher.publish([book.published(name) for book, found in mended for name in found])
        journaled = await self._until_it_works("the journal", lambda: self._journal.done(partition))
        return min([journaled, *(book.done(partition) for book in self._books)])

    async def _write(self, decided: Sequence[Decided]) -> None:
        """Tables, journal, topics; then the tables' positions, which claim that all of it is done."""
        if not decided:
            return
        touched = [(book, _apply(book, decided)) for book in self._books]
        await self._until_it_works("the journal", lambda: self._journal.write(decided))
        metrics.JOURNALED.inc(len(decided))
        await self._publisher.publish([one.row for _, windows in touched for one in windows])
        for book, windows in touched:
            await self._until_it_works("the table of alerts", partial(self._alarm.raise_for, book, windows))
        for partition, done in _last(decided).items():
            for book in self._books:
                book.finish(partition, done)
            # A transaction ends in a marker that has an offset too.
            self._reached[partition] = max(done.decision_offset + 2, self._reached.get(partition, 0))

    async def _until_it_works(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except OUTAGES as exc:
                log.warning("%s cannot be reached (%s); waiting for it", what, type(exc).__name__)
                await asyncio.sleep(self._pause_s)


def _apply(book: SpendBook, decided: Iterable[Decided]) -> list[Touched]:
    """Fold decisions into a table, touching each of its rows once: every write is a changelog message."""
    overlay: ChainMap[str, dict[str, int | None]] = ChainMap({}, book.rows)
    draft = SpendBook(book.window, overlay, book.home)
    touched: dict[WindowName, datetime] = {}
    for one in decided:
        touched.update(dict.fromkeys(draft.apply(one), one.decision.decided_at))
    rows = [Touched(draft.published(name), at) for name, at in touched.items()]
    for key, row in overlay.maps[0].items():
        book.rows[key] = row
    return rows


def _last(decided: Iterable[Decided]) -> dict[int, Done]:
    last: dict[int, Done] = {}
    for partition, offset, decision in decided:
        last[partition] = max(last.get(partition, Done(-1, -1)), Done(decision.request_offset, offset))
    return last
