"""One partition of the ledger with its single writer: decides what is delivered, commits, then changes memory."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from enum import Enum, auto

from millrace.clock import from_millis, millis
from millrace.contracts.events import CostRequest
from millrace.tracing.spans import moment, recording
from services.cost_ledger import metrics
from services.cost_ledger.decide import Owns
from services.cost_ledger.log import Broken, PartitionLog
from services.cost_ledger.rows import HoldKey
from services.cost_ledger.state import Batch, Logged, State

log = logging.getLogger(__name__)

EXPIRE_AGAIN_MS = 30_000
"""An expiry that was asked for and not decided (or decided a moment too early) is asked for again after this."""


class Delivery(Enum):
    """What came of records that were delivered."""

    DECIDED = auto()
    GAP = auto()
    """Records are missing before these; nothing was decided, fetch again from `next_offset`."""


class PartitionLedger:
    """Everything that one owner holds of a partition. Blocking; for one thread at a time."""

    def __init__(self, partition: int, log_: PartitionLog, owns: Owns) -> None:
        self.partition = partition
        self.loaded = False
        self._log = log_
        self._owns = owns
        self._state = State()
        self._expiring: dict[HoldKey, int] = {}

    @property
    def state(self) -> State:
        """What is committed; read it, never write it."""
        return self._state

    @property
    def next_offset(self) -> int:
        """Offset of the first request that is not decided yet."""
        return self._state.position.offset + 1

    def open(self) -> None:
        """Become the only writer and load the state.

        :raises Broken: the rows do not match what was committed with the position.
        """
        # The rows live as long as the process. Looking through them for garbage would take as long as reading them,
        # and be felt as a pause ever after.
        gc.disable()
        try:
            self._load()
            gc.freeze()
        except BaseException:
            self._log.close()
            raise
        finally:
            gc.enable()
        self.loaded = True

    def _load(self) -> None:
        rows, position, first_kept = self._log.open()
        if not self._state.load(rows, position):
            raise Broken(
                f"the rows of partition {self.partition} do not match their digest at request {position.offset}: "
                "stop the ledger and run `millrace budget rebuild`"
            )
        if position.offset + 1 < first_kept:
            log.error(
                "partition %d: requests %d to %d are past retention and were never decided",
                self.partition,
                position.offset + 1,
                first_kept - 1,
            )
            self._state.position = position._replace(offset=first_kept - 1)

    def close(self) -> None:
        """Leave; nothing is in flight, because `decide` returns when its batch is committed."""
        self.loaded = False
        self._log.close()
        with suppress(KeyError):  # it has decided nothing yet
            metrics.OPEN_HOLDS.remove(self.partition)

    def abandon(self, loading: Future[None]) -> None:
        """Leave after a load that nobody waits for any more; it may have failed, because the next owner fenced it."""
        error = loading.exception()
        if error is not None:
            log.info("partition %d was given away while it was loaded: %s", self.partition, error)
        self.close()

    def decide(self, records: Sequence[Logged]) -> Delivery:
        """Decide records in order; repeats are dropped, a gap stops.

        Any error leaves open whether the batch was committed: the caller must end the process.
        """
        fresh = [record for record in records if record.offset >= self.next_offset]
        if not fresh:
            return Delivery.DECIDED
        offsets = [record.offset for record in fresh]
        if offsets != list(range(self.next_offset, self.next_offset + len(fresh))):
            return Delivery.GAP
        began, traces = time.time_ns(), {record.offset: record.traceparent for record in fresh}
        batch = self._state.batch(fresh, self._owns)
        self._log.commit(batch, traces)
        self._state.apply(batch)
        self._count(batch)
        if recording():
            for decision in batch.decisions:
                about = {"millrace.op": decision.op, "millrace.outcome": decision.outcome}
                moment("decide", traces.get(decision.request_offset), began, attributes=about)
        return Delivery.DECIDED

    def _count(self, batch: Batch) -> None:
        for decision in batch.decisions:
            metrics.DECISIONS.labels(decision.op, decision.outcome).inc()
        metrics.OPEN_HOLDS.labels(self.partition).set(len(self._state.open))

    def skip_to(self, offset: int) -> None:
        """Go on at `offset`: the broker has nothing at the position."""
        self._state.position = self._state.position._replace(offset=offset - 1)

    def overdue(self, now: datetime) -> list[CostRequest]:
        """Requests that let holds expire whose time is over; each is asked for again until it is decided."""
        if not self.loaded:
            return []
        now_ms = millis(now)
        holds = self._state.open
        self._expiring = {key: asked for key, asked in self._expiring.items() if key in holds}
        due = [
            (key, row)
            for key, row in holds.items()
            if row.state == "held"
            and row.expires_at <= now_ms
            and now_ms - self._expiring.get(key, -EXPIRE_AGAIN_MS) >= EXPIRE_AGAIN_MS
        ]
        self._expiring.update((key, now_ms) for key, _ in due)
        return [
            CostRequest(
                request_id=key.request_id,
                op="expire",
                account=key.account,
                scope=row.scope,
                requested_by="cost_ledger",
                requested_at=from_millis(now_ms),
            )
            for key, row in due
        ]
