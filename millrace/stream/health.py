"""Readiness by progress: an agent whose heartbeats are fine but whose work stands still is not ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from aiokafka.errors import KafkaError

from millrace.stream.acks import Partition
from millrace.stream.pool import JobPool
from millrace.stream.stage import StageSpec
from millrace.telemetry import metrics

log = logging.getLogger(__name__)

GRACE = timedelta(minutes=1)
"""Beyond a stage's hard limit, before a running job counts as hung."""
LOOK_EVERY_S = 5.0


def unready(
    spec: StageSpec, now: datetime, *, assigned: bool, flowing: bool, oldest_start: datetime | None
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
    return None


class TailWatch:
    """Finds records that were skipped at the end of a partition, where no later record would show the hole.

    The fetch position of a partition ahead of what the pool expects, twice in a row with an idle pump, is a gap.
    """

    def __init__(self, pool: JobPool, on_gap: Callable[[Partition, int, int], None]) -> None:
        self._pool = pool
        self._on_gap = on_gap
        self._suspected: dict[Partition, int] = {}

    def look(self, positions: dict[Partition, int]) -> None:
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


async def watch(
    spec: StageSpec,
    pool: JobPool,
    positions: Callable[[], Awaitable[dict[Partition, int]]],
    highwater: Callable[[Partition], int],
    tail: TailWatch,
    *,
    every_s: float = LOOK_EVERY_S,
) -> None:
    """Look after the stage until cancelled: gaps at the tail, lag, records held."""
    while True:
        await asyncio.sleep(every_s)
        try:
            now = await asyncio.wait_for(positions(), every_s)
        except (TimeoutError, KafkaError):  # a partition was revoked meanwhile, or has no position yet
            log.info("%s: fetch positions are not known at present (rebalance?)", spec.name)
            continue
        tail.look(now)
        metrics.HELD_RECORDS.labels(spec.name).set(pool.held)
        for at in now:
            behind = max(highwater(at) - pool.expected(at), 0)
            metrics.LAG.labels(spec.name, at.topic, str(at.partition)).set(behind)
