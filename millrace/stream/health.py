"""Readiness by progress: an agent whose heartbeats are fine but whose work stands still is not ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from aiokafka.errors import KafkaError

from millrace.clock import Clock
from millrace.contracts.events import StageName
from millrace.errors import Unavailable
from millrace.kafka.records import Partition
from millrace.stream.liveness import Liveness, Standing
from millrace.stream.pool import JobPool
from millrace.stream.stage import StageSpec
from millrace.telemetry import metrics

log = logging.getLogger(__name__)

GRACE = timedelta(minutes=1)
"""Beyond a stage's hard limit, before a running job counts as hung."""
LOOK_EVERY_S = 5.0


def unready(
    spec: StageSpec,
    now: datetime,
    *,
    assigned: bool,
    flowing: bool,
    oldest_start: datetime | None,
    standstill: str | None,
) -> str | None:
    """Why a stage is not ready, or None. Pure.

    A worker without partitions is ready: it stands by.
    """
    if not assigned:
        return "no partitions were assigned yet"
    if not flowing:
        return "a rebalance is under way"
    if oldest_start is not None and now - oldest_start > spec.hard_limit + GRACE:
        return f"a job has been running since {oldest_start:%H:%M:%S} UTC, beyond the stage's limit"
    return standstill


class TailWatch:
    """Finds records that were skipped at the end of a partition, where no later record would show the gap.

    The fetch position of a partition ahead of what the pool expects, twice in a row with an idle pump, is a gap.
    """

    def __init__(self, pool: JobPool, on_gap: Callable[[Partition, int, int], None]) -> None:
        self._pool = pool
        self._on_gap = on_gap
        self._suspected: dict[Partition, int] = {}

    def look(self, positions: Mapping[Partition, int]) -> None:
        """Compare fetch positions (next offset to fetch) with what the pool expects."""
        suspected: dict[Partition, int] = {}
        if self._pool.idle:
            for at, position in positions.items():
                expected = self._pool.expected(at)
                if position > expected:
                    if self._suspected.get(at) == expected:
                        self._on_gap(at, expected, position)
                    suspected[at] = expected
        self._suspected = suspected


class Offsets(Protocol):
    """What Kafka knows of the partitions that are assigned."""

    async def positions(self) -> Mapping[Partition, int]:
        """Next offset to fetch of each."""
        ...

    def end(self, at: Partition) -> int:
        """Where a partition's log ends, as of the last fetch."""
        ...

    async def committed(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        """Where the group goes on after a restart; a partition without a commit is left out."""
        ...


class Watch:
    """Looks after a stage: gaps at the tail, standstill, lag, records held."""

    def __init__(self, stage: StageName, pool: JobPool, offsets: Offsets, tail: TailWatch, clock: Clock) -> None:
        self._stage = stage
        self._pool = pool
        self._offsets = offsets
        self._tail = tail
        self._clock = clock
        self._liveness = Liveness()
        self._shown: set[Partition] = set()

    def standstill(self) -> str | None:
        """What stands still, in words, or None."""
        return self._liveness.standstill(self._clock.now())

    async def run(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await asyncio.wait_for(self._look(), every_s)
            except (
                TimeoutError,
                KafkaError,
                Unavailable,
            ):  # a partition was revoked meanwhile, or has no position yet
                log.info("%s: where its partitions are is not known at present (rebalance?)", self._stage)

    async def _look(self) -> None:
        positions = await self._offsets.positions()
        self._tail.look(positions)
        metrics.HELD_RECORDS.labels(self._stage).set(self._pool.held)
        self._forget(self._shown - positions.keys())
        for at in positions:
            behind = max(self._offsets.end(at) - self._pool.expected(at), 0)
            metrics.LAG.labels(self._stage, at.topic, str(at.partition)).set(behind)
            self._shown.add(at)
        committed = await self._offsets.committed(positions)
        pool = self._pool
        standings = {
            at: Standing(self._offsets.end(at), pool.expected(at), pool.undone(at), committed.get(at, pool.began(at)))
            for at in positions
        }
        self._liveness.look(self._clock.now(), standings, has_room=pool.has_room)

    def _forget(self, revoked: set[Partition]) -> None:
        """Take away the lags of partitions that others have now: theirs would be counted twice."""
        for at in revoked:
            metrics.LAG.remove(self._stage, at.topic, str(at.partition))
        self._shown -= revoked
