"""Brings decisions into the spend tables, the journal and the spend topic, in order and without gaps.

Faust's commits are a hint, not the truth: how far a partition is done stands in the tables and in the journal
themselves. Whatever is missing between there and a decision that arrives is read from the log first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import ChainMap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from mode import Service

from millrace.contracts.events import CostSpend
from millrace.store.pool import OUTAGES
from services.cost_ledger import metrics
from services.cost_ledger.spend import Decided, Done, SpendBook, WindowName

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

    async def write(self, decided: Sequence[Decided]) -> None:
        """Append all or nothing; what is there already stays."""
        ...


class Publisher(Protocol):
    """Where the rows of the spend topic go."""

    async def publish(self, rows: Sequence[CostSpend]) -> None:
        """Send and wait until all are confirmed."""
        ...


class Recorder(Service):
    """Works through arrived decisions in batches; one at a time, so that order is never in question."""

    def __init__(
        self,
        books: Sequence[SpendBook],
        journal: Entries,
        decisions: DecisionLog,
        publisher: Publisher,
        *,
        fatal: Callable[[str], None],
        pause_s: float = 1.0,
    ) -> None:
        super().__init__()
        self._books = books
        self._journal = journal
        self._decisions = decisions
        self._publisher = publisher
        self._fatal = fatal
        self._pause_s = pause_s
        self._queue: asyncio.Queue[Arrived] = asyncio.Queue(maxsize=2 * MAX_BATCH)
        self._done: dict[int, Done] = {}
        self._batch: asyncio.Task[None] | None = None
        self._written: dict[int, Done] = {}

    async def on_start(self) -> None:
        """Begin to work."""
        self.add_future(self._run())

    async def put(self, arrived: Arrived) -> None:
        """Take a decision; waits while many are waiting."""
        await self._queue.put(arrived)

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
        self._written.clear()

    def recorded(self) -> dict[int, int]:
        """By partition: the offset of the last request whose decision is recorded, as far as that is known here."""
        return {partition: done.request_offset for partition, done in self._written.items()}

    async def _run(self) -> None:
        try:
            while not self.should_stop:
                batch = [await self._queue.get()]
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

    async def _record(self, batch: Sequence[Arrived]) -> None:
        ready: list[Decided] = []
        for partition, offset, decision in (arrived.decided for arrived in batch):
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
        for arrived in batch:
            arrived.ack()

    async def _catch_up(self, partition: int, done: Done, arrived: Done) -> Done:
        """Record the decisions between those that are done and one that arrived; how far that came."""
        log.info("partition %d: decisions after offset %d are read again", partition, done.decision_offset)
        first, stop = done.decision_offset + 1, arrived.decision_offset
        async for chunk in self._decisions.between(partition, first, stop):
            missing = [one for one in chunk if one.decision.outcome != "day-opened"]
            await self._write(missing)
            done = _last(missing).get(partition, done)
        if done.request_offset + 1 < arrived.request_offset:
            log.error(
                "partition %d: decisions on requests %d to %d are past retention and were not recorded",
                partition,
                done.request_offset + 1,
                arrived.request_offset - 1,
            )
        return done

    async def _where(self, partition: int) -> Done:
        """How far a partition is done everywhere."""
        journaled = await self._until_it_works("the journal", lambda: self._journal.done(partition))
        return min([journaled, *(book.done(partition) for book in self._books)])

    async def _write(self, decided: Sequence[Decided]) -> None:
        """Tables, journal, topic; then the tables' positions, which claim that all of it is done."""
        if not decided:
            return
        rows: list[CostSpend] = []
        for book in self._books:
            rows += _apply(book, decided)
        await self._until_it_works("the journal", lambda: self._journal.write(decided))
        metrics.JOURNALED.inc(len(decided))
        await self._publisher.publish(rows)
        for partition, done in _last(decided).items():
            for book in self._books:
                book.finish(partition, done)
            self._written[partition] = max(done, self._written.get(partition, done))

    async def _until_it_works(self, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except OUTAGES as exc:
                log.warning("%s cannot be reached (%s); waiting for it", what, type(exc).__name__)
                await asyncio.sleep(self._pause_s)


def _apply(book: SpendBook, decided: Iterable[Decided]) -> list[CostSpend]:
    """Fold decisions into a table, touching each of its rows once: every write is a changelog message."""
    overlay: ChainMap[str, dict[str, int | None]] = ChainMap({}, book.rows)
    draft = SpendBook(book.window, overlay, book.home)
    touched: dict[WindowName, None] = {}
    for one in decided:
        touched.update(dict.fromkeys(draft.apply(one)))
    rows = [draft.published(name) for name in touched]
    for key, row in overlay.maps[0].items():
        book.rows[key] = row
    return rows


def _last(decided: Iterable[Decided]) -> dict[int, Done]:
    last: dict[int, Done] = {}
    for partition, offset, decision in decided:
        last[partition] = max(last.get(partition, Done(-1, -1)), Done(decision.request_offset, offset))
    return last
